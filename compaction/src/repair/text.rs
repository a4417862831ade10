//! What a repair did, as a person reads it.

use std::fmt::Write;

use super::report::{Action, Outcome, Report};
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
        match (self.actions.is_empty(), self.dry_run) {
            (true, _) => writeln!(out, "There is nothing in {path} that can be repaired")?,
            (false, true) => writeln!(out, "To be done in {path}; nothing was changed:")?,
            (false, false) => writeln!(out, "Repaired {path}:")?,
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
