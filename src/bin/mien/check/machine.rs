//! Whether the machine is cool enough and its supply strong enough.

use mien::kiosk::machine;

use super::{Finding, Verdict};

/// A Raspberry Pi slows its CPU down from here on, °C.
const THROTTLED_FROM_C: f64 = 80.0;
/// Warm enough to be throttled on a hot day, °C.
const WARM_FROM_C: f64 = 70.0;
/// In the bits of [`machine::throttled`]: the supply is weak.
const UNDER_VOLTAGE: u32 = 1;
/// All that say what is so now; what has been since the start stands …
const NOW: u32 = 0xF;
/// … so far above.
const SINCE_START_SHIFT: u32 = 16;

const COOL_IT: &str = "give it a heat sink or a fan, and air in its case";
const FEED_IT: &str = "under voltage; use the Pi's own power supply and a short, thick cable";

/// Its CPU's temperature, and what slows that down.
pub fn check() -> Finding {
    let (verdict, text) = judge(machine::cpu_celsius(), machine::throttled());
    ("machine", verdict, text)
}

fn judge(celsius: Option<f64>, throttled: Option<u32>) -> (Verdict, String) {
    let Some(celsius) = celsius else {
        return (Verdict::Note, "it tells no temperature".into());
    };
    let text = format!("CPU at {celsius:.0} °C");
    let bits = throttled.unwrap_or_default();
    let (now, since_start) = (bits & NOW, bits >> SINCE_START_SHIFT & NOW);
    if now != 0 {
        (Verdict::Failed, format!("{text}; now slowed down: {}", remedy(now)))
    } else if celsius >= THROTTLED_FROM_C {
        (Verdict::Failed, format!("{text}: {COOL_IT}"))
    } else if since_start != 0 {
        let remedy = remedy(since_start);
        (Verdict::Note, format!("{text}; slowed down some time since it started: {remedy}"))
    } else if celsius >= WARM_FROM_C {
        (Verdict::Note, format!("{text}: warm; {COOL_IT}"))
    } else if throttled.is_none() {
        (Verdict::Good, format!("{text}; of its supply it tells nothing"))
    } else {
        (Verdict::Good, text)
    }
}

/// What to do about what slows it down. A weak supply first: it is the commoner, and heat is seen by
/// the temperature too.
fn remedy(causes: u32) -> &'static str {
    if causes & UNDER_VOLTAGE != 0 { FEED_IT } else { COOL_IT }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heat_and_a_weak_supply_are_told_apart() {
        assert!(matches!(judge(Some(48.3), None), (Verdict::Good, text) if text.contains("48 °C")));
        assert!(matches!(judge(Some(48.3), Some(0)), (Verdict::Good, _)));
        assert!(matches!(judge(Some(72.0), None), (Verdict::Note, text) if text.contains("fan")));
        assert!(matches!(judge(Some(81.0), None), (Verdict::Failed, text) if text.contains("fan")));
        assert!(matches!(judge(None, None), (Verdict::Note, _)));
        let (verdict, text) = judge(Some(48.3), Some(0x50005));
        assert!(matches!(verdict, Verdict::Failed) && text.contains("supply"), "{text}");
        let (verdict, text) = judge(Some(48.3), Some(0x50000));
        assert!(matches!(verdict, Verdict::Note) && text.contains("supply"), "{text}");
        let (verdict, text) = judge(Some(48.3), Some(0x8));
        assert!(matches!(verdict, Verdict::Failed) && text.contains("fan"), "{text}");
    }
}
