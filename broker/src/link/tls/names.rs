//! The names in a certificate, as Go prints them: users are called by these.

use x509_parser::der_parser::asn1_rs::Any;
use x509_parser::x509::X509Name;

/// Types of attributes that have a name, by the last number behind `2.5.4`, in the order in which Go puts them.
const NAMED: &[(&str, &str)] = &[
    ("2.5.4.6", "C"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "STREET"),
    ("2.5.4.17", "POSTALCODE"),
    ("2.5.4.3", "CN"),
    ("2.5.4.5", "SERIALNUMBER"),
];

const DOMAIN_COMPONENT: &str = "0.9.2342.19200300.100.1.25";

/// An attribute of a name: its type as dotted numbers, and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attribute {
    pub oid: String,
    pub value: String,
}

impl Attribute {
    /// The name of its type, if that has one: those that Go knows, and the domain component.
    pub fn named(&self) -> Option<&'static str> {
        match self.oid.as_str() {
            DOMAIN_COMPONENT => Some("DC"),
            oid => NAMED.iter().find(|(known, _)| *known == oid).map(|(_, name)| *name),
        }
    }
}

/// A name: in the order in which the certificate has them, sets of attributes (mostly one each).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Name(pub Vec<Vec<Attribute>>);

impl Name {
    /// What a certificate has. `None`: a value is not a text.
    pub fn of(name: &X509Name<'_>) -> Option<Self> {
        let sets = name.iter_rdn().map(|set| {
            let attributes = set.iter().map(|attribute| {
                Some(Attribute {
                    oid: attribute.attr_type().to_id_string(),
                    value: text(attribute.attr_value())?,
                })
            });
            attributes.collect::<Option<Vec<_>>>()
        });
        Some(Self(sets.collect::<Option<_>>()?))
    }

    fn all(&self) -> impl Iterator<Item = &Attribute> {
        self.0.iter().flatten()
    }

    /// `pkix.Name.ToRDNSequence().String()`: what has a name, each kind once.
    pub fn known(&self) -> String {
        self.sorted(Vec::new())
    }

    /// `pkix.Name.String()`: the same, and behind it what has none.
    pub fn whole(&self) -> String {
        let has_name = |attribute: &&Attribute| NAMED.iter().any(|(oid, _)| *oid == attribute.oid);
        let others = self.all().filter(|attribute| !has_name(attribute));
        self.sorted(others.map(|attribute| vec![attribute]).collect())
    }

    /// `DC=a,DC=b`: the domain components, in the order in which they come.
    pub fn domain(&self) -> String {
        let found = self.all().filter(|attribute| attribute.oid == DOMAIN_COMPONENT);
        let parts: Vec<String> = found.map(|attribute| format!("DC={}", attribute.value)).collect();
        parts.join(",")
    }

    fn sorted<'a>(&'a self, mut sets: Vec<Vec<&'a Attribute>>) -> String {
        for (oid, name) in NAMED {
            let mut found: Vec<&Attribute> = self.all().filter(|attribute| attribute.oid == *oid).collect();
            if matches!(*name, "CN" | "SERIALNUMBER") {
                // There is one of each; the last one counts, if it says anything.
                found = found.into_iter().next_back().into_iter().collect();
                found.retain(|attribute| !attribute.value.is_empty());
            }
            if !found.is_empty() {
                sets.push(found);
            }
        }
        let shown = |set: &Vec<&Attribute>| {
            set.iter()
                .map(|attribute| shown(attribute))
                .collect::<Vec<_>>()
                .join("+")
        };
        let parts: Vec<String> = sets.iter().rev().map(shown).collect();
        parts.join(",")
    }
}

fn shown(attribute: &Attribute) -> String {
    let named = NAMED.iter().find(|(oid, _)| *oid == attribute.oid);
    let name = named.map_or(attribute.oid.as_str(), |(_, name)| name);
    let value = &attribute.value;
    let last = value.len().saturating_sub(1);
    let mut text = format!("{name}=");
    for (at, character) in value.char_indices() {
        let escaped = match character {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' => true,
            ' ' => at == 0 || at == last,
            '#' => at == 0,
            _ => false,
        };
        if escaped {
            text.push('\\');
        }
        text.push(character);
    }
    text
}

/// The text of a value, of whichever kind of text it is.
fn text(value: &Any<'_>) -> Option<String> {
    match value.tag().0 {
        // UTF8String, NumericString, PrintableString, T61String, IA5String, GeneralString.
        12 | 18 | 19 | 20 | 22 | 27 => String::from_utf8(value.data.to_vec()).ok(),
        // BMPString.
        30 => {
            let units = value
                .data
                .chunks_exact(2)
                .map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            String::from_utf16(&units.collect::<Vec<_>>()).ok()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
