//! The name that was probably meant.

/// The known name nearest to `written`, if it is near enough to be a slip of the fingers.
///
/// The distance counts inserted, deleted, replaced and swapped neighbouring characters. One slip for every three
/// characters is tolerated. Long words are not compared, so the cost is bounded whatever the input.
pub(super) fn nearest<'a>(written: &str, known: &[&'a str]) -> Option<&'a str> {
    const LONGEST: usize = 32;
    if written.len() > LONGEST {
        return None;
    }
    let allowed = (written.len() / 3).max(1);
    let near = known.iter().map(|&name| (distance(written.as_bytes(), name.as_bytes()), name));
    // A name of one letter is one slip away from every other.
    let near = near.filter(|&(slips, name)| slips <= allowed && slips < name.len());
    near.min_by_key(|&(slips, _)| slips).map(|(_, name)| name)
}

/// Optimal string alignment distance, over bytes.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut before = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = core::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_found() {
        let known = ["ifconfig", "jail", "jls", "jexec"];
        assert_eq!(nearest("ifconifg", &known), Some("ifconfig"));
        assert_eq!(nearest("ifcofig", &known), Some("ifconfig"));
        assert_eq!(nearest("jal", &known), Some("jail"));
        assert_eq!(nearest("netstat", &known), None);
        assert_eq!(nearest("x", &["y"]), None);
        assert_eq!(nearest(&"i".repeat(1000), &known), None);
    }
}
