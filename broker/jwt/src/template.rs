//! Permissions with places to fill: `orders.{{name()}}.>`.

use crate::permissions::UserPermissions;
use crate::subject::is_subject;

/// Subjects that one list of a template may become at most.
const EXPANSIONS_MAX: usize = 4096;
/// Bytes that these may have together at most: as many as a token may.
const EXPANDED_MAX: usize = 1 << 20;
/// Places that one subject of a template may have at most.
const PLACES_MAX: usize = 64;

/// What places are filled with.
#[derive(Debug, Clone, Copy)]
pub struct Names<'a> {
    /// What people call the user.
    pub name: &'a str,
    /// The user's key.
    pub subject: &'a str,
    /// What people call the account.
    pub account_name: &'a str,
    /// The account's key.
    pub account_subject: &'a str,
    /// The user's labels, each `key:value`.
    pub tags: &'a [String],
    /// The account's.
    pub account_tags: &'a [String],
}

/// Why a template cannot be filled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A place is for something that there is not.
    #[error("template operation in {0:?}: {1:?} is not defined")]
    Operation(String, String),
    /// What is denied would not be.
    #[error("generated invalid subject")]
    Subject,
    /// It would become too many.
    #[error("permission template expansion limit exceeded: {EXPANSIONS_MAX}")]
    TooMany,
    /// It would become too long.
    #[error("permission template expansion limit exceeded: {PLACES_MAX} places, {EXPANDED_MAX} bytes")]
    TooLong,
}

/// Fills every place. What is allowed and becomes no subject is left out; what is denied must become one.
///
/// # Errors
/// See [`TemplateError`].
pub fn fill(template: &UserPermissions, names: &Names<'_>) -> Result<UserPermissions, TemplateError> {
    let mut filled = template.clone();
    for list in [&mut filled.permissions.subscribe, &mut filled.permissions.publish] {
        let some = !list.allow.is_empty();
        list.allow = fill_list(&list.allow, names, false)?;
        list.deny = fill_list(&list.deny, names, true)?;
        // Otherwise everything would be allowed.
        let all = ">".to_owned();
        if some && list.allow.is_empty() && !list.deny.contains(&all) {
            list.deny.push(all);
        }
    }
    Ok(filled)
}

fn fill_list(list: &[String], names: &Names<'_>, strict: bool) -> Result<Vec<String>, TemplateError> {
    if !list.iter().any(|subject| !places(subject).is_empty()) {
        return Ok(list.to_vec());
    }
    let (mut filled, mut left) = (Vec::new(), EXPANDED_MAX);
    for subject in list {
        let places = places(subject);
        if places.len() > PLACES_MAX {
            return Err(TemplateError::TooLong);
        }
        let mut values = Vec::new();
        for place in &places {
            values.push(values_of(subject, place, names, strict)?);
        }
        let count = values
            .iter()
            .try_fold(1_usize, |count, values: &Vec<&str>| count.checked_mul(values.len()))
            .filter(|count| filled.len() + count <= EXPANSIONS_MAX)
            .ok_or(TemplateError::TooMany)?;
        for number in 0..count {
            let made = with_values(subject, &places, &values, number, left).ok_or(TemplateError::TooLong)?;
            left -= made.len();
            match is_subject(&made) {
                true => filled.push(made),
                false if strict => return Err(TemplateError::Subject),
                false => {}
            }
        }
    }
    Ok(filled)
}

/// The `number`th of all ways to fill the places, the last of which changes first; none if that has more bytes than `most`. A place that
/// comes again has the value of the first. What a value has in braces is no place: whoever chooses tags chooses no templates.
fn with_values(subject: &str, places: &[&str], values: &[Vec<&str>], mut number: usize, most: usize) -> Option<String> {
    let mut chosen = Vec::new();
    for values in values.iter().rev() {
        chosen.push(values[number % values.len()]);
        number /= values.len();
    }
    chosen.reverse();
    let (mut made, mut rest) = (String::new(), subject);
    for place in places {
        let (before, after) = rest.split_once(place)?;
        let first = places.iter().position(|other| other == place)?;
        for part in [before, chosen[first]] {
            if made.len() + part.len() > most {
                return None;
            }
            made.push_str(part);
        }
        rest = after;
    }
    (made.len() + rest.len() <= most).then(|| made + rest)
}

/// The places of a subject, braces and all.
fn places(subject: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(start) = subject[at..].find("{{").map(|start| at + start) {
        let inner = &subject[start + 2..];
        match inner.find('}') {
            Some(length) if length > 0 && inner[length..].starts_with("}}") => {
                let end = start + 2 + length + 2;
                found.push(&subject[start..end]);
                at = end;
            }
            // The next brace may begin one.
            _ => at = start + 1,
        }
    }
    found
}

fn values_of<'n>(subject: &str, place: &str, names: &Names<'n>, strict: bool) -> Result<Vec<&'n str>, TemplateError> {
    let operation = &place[2..place.len() - 2];
    let operation = operation.trim();
    let one = |value: &'n str| Ok(vec![value]);
    match operation.to_ascii_lowercase().as_str() {
        "name()" => return one(names.name),
        "subject()" => return one(names.subject),
        "account-name()" => return one(names.account_name),
        "account-subject()" => return one(names.account_subject),
        _ => {}
    }
    let argument = |prefix: &str| {
        let is_it = operation
            .get(..prefix.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(prefix));
        let inner = operation.strip_suffix(')')?;
        is_it.then(|| inner.strip_prefix(prefix).unwrap_or(inner))
    };
    let (tags, key) = match (argument("tag("), argument("account-tag(")) {
        (Some(key), _) => (names.tags, key),
        (None, Some(key)) => (names.account_tags, key),
        (None, None) => return Err(TemplateError::Operation(subject.to_owned(), operation.to_owned())),
    };
    let prefix = format!("{}:", key.to_lowercase());
    let found: Vec<&str> = tags.iter().filter_map(|tag| tag.strip_prefix(&prefix)).collect();
    match (found.is_empty(), strict) {
        (false, _) => Ok(found),
        (true, true) => Err(TemplateError::Subject),
        // Of no subject.
        (true, false) => one(" "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::permissions::List;

    fn strings(of: &[&str]) -> Vec<String> {
        of.iter().map(ToString::to_string).collect()
    }

    fn filled(allow: &[&str], deny: &[&str]) -> Result<List, TemplateError> {
        let (tags, account_tags) = (strings(&["team:a", "team:b", "role:x"]), strings(&["region:eu"]));
        let names = Names {
            name: "ada",
            subject: "UADA",
            account_name: "shop",
            account_subject: "ASHOP",
            tags: &tags,
            account_tags: &account_tags,
        };
        let mut template = UserPermissions::default();
        template.permissions.publish = List {
            allow: strings(allow),
            deny: strings(deny),
        };
        fill(&template, &names).map(|filled| filled.permissions.publish)
    }

    #[test]
    fn places_are_filled() {
        let list = filled(
            &[
                "o.{{name()}}.>",
                "{{ subject() }}.{{Account-Name()}}",
                "{{account-subject()}}",
                "plain",
            ],
            &["no.{{account-tag(region)}}"],
        );
        let list = list.unwrap_or_default();
        assert_eq!(list.allow, ["o.ada.>", "UADA.shop", "ASHOP", "plain"]);
        assert_eq!(list.deny, ["no.eu"]);
    }

    #[test]
    fn a_tag_with_several_values_becomes_several_subjects() {
        let list = filled(&["{{tag(team)}}.{{name()}}.{{tag(role)}}"], &[]).unwrap_or_default();
        assert_eq!(list.allow, ["a.ada.x", "b.ada.x"]);
    }

    #[test]
    fn what_cannot_be_filled_opens_nothing() {
        let list = filled(&["{{tag(none)}}.a"], &[]).unwrap_or_default();
        assert_eq!((list.allow, list.deny), (Vec::new(), strings(&[">"])));
        assert_eq!(filled(&[], &["{{tag(none)}}.a"]), Err(TemplateError::Subject));
        assert!(matches!(filled(&["{{name}}"], &[]), Err(TemplateError::Operation(..))));
        assert!(matches!(
            filled(&["{{{name()}}"], &[]),
            Err(TemplateError::Operation(..))
        ));
        assert_eq!(filled(&["{{}}"], &[]).unwrap_or_default().allow, ["{{}}"]);
    }

    /// Found by a fuzzer: 622 bytes became more than 3 GB, for values were looked through for places again and again.
    #[test]
    fn what_a_tag_says_is_no_template() {
        let deep = "a:2}}.{{tag(a)}}.{{tag(a)}}.{{tag(a)}}.{{tag(a)";
        let tags = strings(&["a:1", deep]);
        let names = Names {
            name: "",
            subject: "",
            account_name: "",
            account_subject: "",
            tags: &tags,
            account_tags: &[],
        };
        let mut template = UserPermissions::default();
        let publish = &mut template.permissions.publish;
        publish.allow = strings(&["{{tag(a)}}.{{tag(a)}}"]);
        let filled = fill(&template, &names).map(|filled| filled.permissions.publish.allow);
        let (one, other) = ("1.1".to_owned(), format!("{0}.{0}", &deep[2..]));
        assert_eq!(filled, Ok(vec![one.clone(), one, other.clone(), other]));
        template.permissions.publish.allow = strings(&[&"{{tag(a)}}.".repeat(65)]);
        assert_eq!(fill(&template, &names), Err(TemplateError::TooLong));
        let tags = strings(&[&format!("a:{}", "x".repeat(600_000))]);
        let long = Names { tags: &tags, ..names };
        template.permissions.publish.allow = strings(&["{{tag(a)}}.{{tag(a)}}"]);
        assert_eq!(fill(&template, &long), Err(TemplateError::TooLong));
    }

    #[test]
    fn expansions_are_bounded() {
        let many = "{{tag(team)}}.".repeat(13);
        assert_eq!(filled(&[many.trim_end_matches('.')], &[]), Err(TemplateError::TooMany));
        let less = "{{tag(team)}}.".repeat(12);
        assert!(filled(&[less.trim_end_matches('.')], &[]).is_ok());
    }
}
