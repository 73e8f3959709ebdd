//! The budgets as they are kept: a number and a reason each, in a file that is changed in the commit that needs it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

/// What may grow by this much (in percent) before somebody has to say why; and by so many instructions, because of a step
/// of a few hundred the compiler's mood is more than that.
const GROWTH_MAX: f64 = 3.0;
const INSTRUCTIONS_MAX: u32 = 25;
/// Two runs of the same differ by less (in percent).
const NOISE: f64 = 0.5;

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) instructions: u32,
    reason: String,
}

/// By name.
pub(super) type Budgets = BTreeMap<String, Kept>;

/// In percent.
pub(super) fn growth(count: u32, before: u32) -> f64 {
    (f64::from(count) / f64::from(before) - 1.0) * 100.0
}

/// The budgets in `file`; none where there is no file.
pub(super) fn read(file: &Path) -> Result<Budgets> {
    let Ok(text) = fs::read_to_string(file) else {
        return Ok(Budgets::new());
    };
    let budgets: BTreeMap<String, Value> =
        serde_json::from_str(&text).with_context(|| format!("{} is not JSON", file.display()))?;
    let kept = |value: &Value| {
        Some(Kept {
            instructions: value.get("instructions")?.as_u64()?.try_into().ok()?,
            reason: value.get("reason")?.as_str()?.to_owned(),
        })
    };
    budgets
        .into_iter()
        .map(|(name, budget)| {
            let kept = kept(&budget).with_context(|| format!("{name}: no number of instructions with a reason"))?;
            Ok((name, kept))
        })
        .collect()
}

/// Fails when something has no budget, or has grown beyond it.
pub(super) fn hold(kept: &Budgets, counted: &BTreeMap<&str, u32>) -> Result<()> {
    let is_over = |(name, count): &(&&str, &u32)| match kept.get(**name) {
        Some(kept) => {
            let limit = kept.instructions.saturating_add(INSTRUCTIONS_MAX);
            growth(**count, kept.instructions) > GROWTH_MAX && **count > limit
        }
        None => true,
    };
    let over: Vec<&str> = counted.iter().filter(is_over).map(|(name, _)| *name).collect();
    ensure!(
        over.is_empty(),
        "{}: grown by more than {GROWTH_MAX} %, or without a budget: make it smaller, or say why with \
         bench budget --update REASON",
        over.join(", ")
    );
    Ok(())
}

/// Writes what was counted, with this reason; what is as it was keeps its number and its own.
pub(super) fn write(file: &Path, kept: &Budgets, counted: &BTreeMap<&str, u32>, reason: &str) -> Result<()> {
    let budget = |(name, count): (&&str, &u32)| {
        let same = kept
            .get(*name)
            .filter(|kept| growth(*count, kept.instructions).abs() < NOISE);
        let budget = match same {
            Some(kept) => json!({ "instructions": kept.instructions, "reason": kept.reason }),
            None => json!({ "instructions": count, "reason": reason }),
        };
        ((*name).to_owned(), budget)
    };
    let budgets: BTreeMap<String, Value> = counted.iter().map(budget).collect();
    let text = serde_json::to_string_pretty(&budgets)?;
    fs::write(file, text + "\n").with_context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_read_back_as_they_were_written_and_what_is_the_same_keeps_its_reason() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("budgets.json");
        assert!(read(&file).unwrap().is_empty());
        let write_anew = |counted: &[(&'static str, u32)], reason| {
            let kept = read(&file).unwrap();
            write(&file, &kept, &counted.iter().copied().collect(), reason).unwrap();
        };
        write_anew(&[("hit-1k", 12_000), ("key", 100)], "measured");
        write_anew(&[("hit-1k", 12_010), ("key", 110)], "longer keys");
        let told = |kept: &Kept| (kept.instructions, kept.reason.clone());
        let kept = read(&file).unwrap();
        assert_eq!(told(&kept["hit-1k"]), (12_000, "measured".to_owned()));
        assert_eq!(told(&kept["key"]), (110, "longer keys".to_owned()));
        fs::write(&file, "{\"hit-1k\": {}}").unwrap();
        assert!(read(&file).unwrap_err().to_string().contains("hit-1k"));
    }

    #[test]
    fn what_grows_or_has_no_budget_is_named() {
        let of = |instructions| Kept {
            instructions,
            reason: String::new(),
        };
        let kept = Budgets::from([("hit-1k".to_owned(), of(10_000)), ("key".to_owned(), of(100))]);
        for (counted, over) in [
            (vec![("hit-1k", 10_290), ("key", 125)], None),
            (vec![("hit-1k", 9_000), ("key", 90)], None),
            (vec![("hit-1k", 10_301), ("key", 100)], Some("hit-1k:")),
            (vec![("hit-1k", 10_301), ("key", 126)], Some("hit-1k, key:")),
            (vec![("new", 1)], Some("new:")),
        ] {
            let held = hold(&kept, &counted.iter().copied().collect());
            match over {
                None => assert!(held.is_ok(), "{counted:?}"),
                Some(names) => assert!(held.unwrap_err().to_string().starts_with(names), "{counted:?}"),
            }
        }
    }
}
