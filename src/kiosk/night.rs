//! Is it too dark to see faces?

use std::time::Duration;

use serde::Deserialize;

use crate::image::Grey;

/// Brightness is that of every so many pixels, along both sides: enough for a mean.
const EVERY: usize = 4;
/// Times as bright as what is dark it must be for the day to begin, so that dusk does not flicker.
const DAWN: f32 = 1.5;

/// When it is night.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NightOptions {
    /// Frames darker than this on average are dark, grey levels (0…255; many cameras call 16 black). 0:
    /// it is never night.
    pub dark_below: f32,
    /// It is night after so many seconds of dark frames.
    pub after_s: f32,
}

impl Default for NightOptions {
    fn default() -> Self {
        Self { dark_below: 24.0, after_s: 10.0 }
    }
}

/// Watches the brightness of frames.
#[derive(Debug)]
pub struct Night {
    options: NightOptions,
    /// Since when frames have been dark.
    dark_since: Option<Duration>,
}

impl Night {
    /// Begins by day.
    pub fn new(options: NightOptions) -> Self {
        Self { options, dark_since: None }
    }

    /// Whether it is night, after the frame of this time.
    pub fn is_night(&mut self, time: Duration, image: &Grey) -> bool {
        let after = Duration::from_secs_f32(self.options.after_s);
        let over = |since: Duration| time.saturating_sub(since) >= after;
        let was_night = self.dark_since.is_some_and(over);
        let limit =
            if was_night { DAWN * self.options.dark_below } else { self.options.dark_below };
        self.dark_since = match brightness(image) < limit {
            true => self.dark_since.or(Some(time)),
            false => None,
        };
        self.dark_since.is_some_and(over)
    }
}

/// Mean grey level of a picture; 0 of one without pixels.
fn brightness(image: &Grey) -> f32 {
    let (mut sum, mut count) = (0_u64, 0_u64);
    for row in image.rows().into_iter().step_by(EVERY) {
        for &level in row.iter().step_by(EVERY) {
            sum += u64::from(level);
            count += 1;
        }
    }
    sum as f32 / count.max(1) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn night(options: NightOptions, frames: &[(u64, u8)]) -> Vec<bool> {
        let mut night = Night::new(options);
        let frame = |level| Grey::from_elem((20, 30), level);
        let told = frames
            .iter()
            .map(|&(time, level)| night.is_night(Duration::from_secs(time), &frame(level)));
        told.collect()
    }

    #[test]
    fn it_is_night_after_some_dark_and_day_once_it_is_clearly_brighter() {
        let options = NightOptions { dark_below: 8.0, after_s: 10.0 };
        let frames = [(0, 50), (1, 7), (10, 7), (11, 7), (12, 9), (13, 11), (14, 12), (15, 7)];
        let told = night(options, &frames);
        assert_eq!(told, [false, false, false, true, true, true, false, false]);
    }

    #[test]
    fn a_dark_moment_is_no_night() {
        let frames = [(0, 0), (5, 0), (6, 40), (7, 0), (16, 0)];
        assert!(!night(NightOptions::default(), &frames).contains(&true));
    }

    /// Black by ITU-R BT.601, with a little noise.
    #[test]
    fn black_of_a_camera_that_keeps_to_the_limited_range_is_dark() {
        let frames = [(0, 16), (5, 17), (10, 17)];
        assert_eq!(night(NightOptions::default(), &frames), [false, false, true]);
    }

    #[test]
    fn switched_off_it_is_never_night() {
        let options = NightOptions { dark_below: 0.0, after_s: 0.0 };
        assert_eq!(night(options, &[(0, 0), (100, 0)]), [false, false]);
    }
}
