//! What a repair did, as a person reads it.

use std::fmt::Write;

use super::report::{Action, Doing, Outcome, Report};
use crate::verify::write_found;

impl Report {
    /// Lines, one for each action and each thing that is left. Ends with a newline.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let path = self.path.display();
        let of = |outcome| self.actions.iter().any(|action| action.outcome == outcome);
        let needs_somebody = self.actions.iter().any(|action| action.doing == Doing::Keep);
        match (of(Outcome::Done), of(Outcome::Failed)) {
            (true, false) => writeln!(out, "Repaired {path}:")?,
            (true, true) => writeln!(out, "Repaired {path} in part:")?,
            (false, true) => writeln!(out, "Nothing could be repaired in {path}:")?,
            (false, false) if self.actions.iter().any(|action| action.doing != Doing::Keep) => {
                writeln!(out, "To be done in {path}; nothing was changed:")?
            }
            (false, false) if needs_somebody => writeln!(
                out,
                "Nothing was done in {path}: it takes somebody to do something first:"
            )?,
            (false, false) if self.is_damaged() => writeln!(
                out,
                "Nothing was done in {path}: what is wrong there is nothing that can be repaired"
            )?,
            (false, false) => writeln!(out, "There is nothing to repair in {path}")?,
        }
        self.actions.iter().try_for_each(|action| write_action(out, action))?;
        if let Some(quarantine) = &self.quarantine {
            writeln!(out, "\nAs it was before: {}, with REASON.txt", quarantine.display())?;
        }
        if !self.left.is_empty() {
            out.push_str(match self.dry_run {
                true => "\nWrong now:\n",
                false => "\nStill wrong:\n",
            });
        }
        self.left.iter().try_for_each(|found| write_found(out, found))?;
        if self.more > 0 {
            writeln!(out, "  and {} more", self.more)?;
        }
        if self.left.is_empty() && self.more == 0 {
            writeln!(out, "\nNothing is wrong that is not settled.")?;
        }
        Ok(())
    }
}

fn write_action(out: &mut String, action: &Action) -> std::fmt::Result {
    let outcome = match action.outcome {
        Outcome::Planned => "",
        Outcome::Done => "done: ",
        Outcome::Failed => "NOT done: ",
    };
    writeln!(out, "  {outcome}{}", action.text)?;
    action.told.iter().try_for_each(|line| writeln!(out, "    {line}"))
}
