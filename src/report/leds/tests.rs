use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use embedded_hal::digital::{ErrorKind, ErrorType};

use super::*;

/// A board of pins, shared with the test.
#[derive(Clone, Default)]
struct Board(Arc<Mutex<Wiring>>);

#[derive(Default)]
struct Wiring {
    /// By line; `None` before it was first set.
    levels: Vec<Option<bool>>,
    failing_lines: Vec<u32>,
}

struct MockPin {
    board: Board,
    line: u32,
}

impl Board {
    /// LEDs on lines 0 to 7, in order.
    fn leds(&self, active_low: bool) -> Leds {
        self.0.lock().unwrap().levels = vec![None; 8];
        let pins = Led::ALL.into_iter().zip(0..);
        let pins = pins.map(|(led, line)| (led, line, MockPin { board: self.clone(), line }));
        Leds::on_pins(pins.collect(), active_low)
    }

    fn levels(&self) -> Vec<Option<bool>> {
        self.0.lock().unwrap().levels.clone()
    }

    fn fail(&self, lines: &[u32]) {
        self.0.lock().unwrap().failing_lines = lines.to_vec();
    }

    fn set(&self, line: u32, level: bool) -> Result<(), ErrorKind> {
        let mut board = self.0.lock().unwrap();
        if board.failing_lines.contains(&line) {
            return Err(ErrorKind::Other);
        }
        board.levels[line as usize] = Some(level);
        Ok(())
    }
}

impl ErrorType for MockPin {
    type Error = ErrorKind;
}

impl OutputPin for MockPin {
    fn set_low(&mut self) -> Result<(), ErrorKind> {
        self.board.set(self.line, false)
    }

    fn set_high(&mut self) -> Result<(), ErrorKind> {
        self.board.set(self.line, true)
    }
}

/// Levels that are `lit` on these lines and not on the others.
fn only(lines: &[u32], lit: bool) -> Vec<Option<bool>> {
    (0..8).map(|line| Some(lines.contains(&line) == lit)).collect()
}

#[test]
fn each_expression_lights_its_own_led() {
    for active_low in [false, true] {
        let board = Board::default();
        let mut leds = board.leds(active_low);
        assert_eq!(board.levels(), only(&[], !active_low), "dark at first");
        for (line, expression) in (0..).zip(Expression::ALL) {
            leds.show(Some((expression, 0.5)), true).unwrap();
            assert_eq!(board.levels(), only(&[line, 7], !active_low));
        }
        leds.show(None, true).unwrap();
        assert_eq!(board.levels(), only(&[7], !active_low));
        leds.off().unwrap();
        assert_eq!(board.levels(), only(&[], !active_low));
    }
}

#[test]
fn all_are_lit_and_then_show_what_they_should() {
    let board = Board::default();
    let mut leds = board.leds(false);
    leds.show(Some((Expression::Fear, 0.5)), true).unwrap();
    leds.all(true).unwrap();
    assert_eq!(board.levels(), [Some(true); 8]);
    leds.show(Some((Expression::Happy, 0.5)), true).unwrap();
    assert_eq!(board.levels(), [Some(true); 8]);
    leds.all(false).unwrap();
    assert_eq!(board.levels(), only(&[3, 7], true));
    leds.all(true).unwrap();
    leds.off().unwrap();
    assert_eq!(board.levels(), only(&[], true));
}

#[test]
fn leds_are_dark_after_a_drop_and_after_a_panic() {
    let board = Board::default();
    let mut leds = board.leds(true);
    leds.show(Some((Expression::Happy, 0.5)), true).unwrap();
    drop(leds);
    assert_eq!(board.levels(), only(&[], false));

    let board = Board::default();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let mut leds = board.leds(false);
        leds.show(Some((Expression::Sad, 0.5)), true).unwrap();
        // A pin that fails meanwhile must not turn the panic into an abort.
        board.fail(&[0]);
        panic!("as tested");
    }));
    assert!(panicked.is_err());
    assert_eq!(board.levels(), only(&[], true));
}

#[test]
fn a_failing_line_is_named_once_and_the_others_go_on() {
    let board = Board::default();
    let mut leds = board.leds(false);
    board.fail(&[3]);
    let error = leds.show(Some((Expression::Angry, 0.5)), true).unwrap_err().to_string();
    assert!(error.contains("happy on line 3"), "{error}");
    assert_eq!(board.levels(), only(&[0, 7], true));
    leds.show(Some((Expression::Sad, 0.5)), true).unwrap();
    leds.show(Some((Expression::Happy, 0.5)), true).unwrap();
    assert_eq!(board.levels(), only(&[7], true));

    board.fail(&[]);
    leds.off().unwrap();
    leds.show(Some((Expression::Happy, 0.5)), true).unwrap();
    assert_eq!(board.levels(), only(&[3, 7], true));
    board.fail(&[3]);
    leds.off().expect_err("a new failure should be told again");
}

fn options(toml: &str) -> LedOptions {
    toml::from_str(toml).unwrap()
}

#[test]
fn two_leds_on_one_line_are_refused_by_name() {
    let shared = options("[lines]\nangry = 5\nhappy = 17\nface_seen = 17");
    let error = Leds::open(&shared).err().unwrap().to_string();
    assert!(error.contains("happy and face_seen share line 17"), "{error}");
}

#[test]
fn options_are_strict() {
    let named = options("backend = \"cdev\"\nactive_low = true\n[lines]\nsad = 4\nface_seen = 2");
    let expected = [(Led::Showing(Expression::Sad), 4), (Led::FaceSeen, 2)];
    assert_eq!(named.lines.named().collect::<Vec<_>>(), expected);
    for wrong in ["backend = \"gpio\"", "aktive_low = true", "[lines]\nglad = 4", "lines.sad = -1"]
    {
        assert!(toml::from_str::<LedOptions>(wrong).is_err(), "{wrong}");
    }
    for backend in ["cdev", "rppal"] {
        let error = Leds::open(&options(&format!("backend = \"{backend}\""))).err().unwrap();
        assert!(matches!(error, LedError::NoLines { .. }), "{error}");
    }
}

#[test]
fn no_leds_take_everything() {
    let mut leds = Leds::open(&options("backend = \"none\"")).unwrap();
    leds.show(Some((Expression::Fear, 0.5)), true).unwrap();
    leds.off().unwrap();
}

#[test]
fn the_drawing_is_one_line_of_at_most_80_columns_redrawn_in_place() {
    let mut out = Vec::new();
    let lit = Lit { expression: Some(Expression::Happy), face_seen: true, ..Lit::default() };
    Terminal::new(&mut out).set(lit).unwrap();
    let drawn = String::from_utf8(out).unwrap();
    let line = drawn.strip_prefix('\r').unwrap().strip_suffix("\x1b[K\r\n").unwrap();
    let mut plain = String::new();
    for piece in line.split("\x1b[") {
        plain += piece.split_once('m').map_or(piece, |(_, text)| text);
    }
    assert!(plain.chars().count() < 80, "{plain}");
    assert_eq!(plain, "○ angry  ○ disgust  ○ fear  ● happy  ○ sad  ○ surprise  ○ neutral  ● face");
}

/// Shares of the time that lines 0 to 7 were last asked to be high.
struct DimmedPin(Arc<Mutex<[f32; 8]>>, usize);

impl pins::Driver for DimmedPin {
    type Error = ErrorKind;
    const DIMS: bool = true;

    fn set(&mut self, high: f32) -> Result<(), ErrorKind> {
        self.0.lock().unwrap()[self.1] = high;
        Ok(())
    }
}

#[test]
fn leds_that_can_be_dimmed_are_as_bright_as_the_answer_is_sure() {
    for active_low in [false, true] {
        let lines = Arc::new(Mutex::new([0.5; 8]));
        let pins = Led::ALL.into_iter().zip(0..);
        let pins =
            pins.map(|(led, line)| (led, line, DimmedPin(Arc::clone(&lines), line as usize)));
        let mut leds = Leds::dark(Some(Box::new(Pins::new(pins.collect(), active_low))));
        let duties =
            || lines.lock().unwrap().map(|high| if active_low { 1.0 - high } else { high });
        assert_eq!(duties(), [0.0; 8]);
        leds.show(Some((Expression::Happy, 0.5)), true).unwrap();
        let half = duties();
        assert!((half[3] - 0.36).abs() < 1e-6, "{half:?}");
        assert_eq!((half[7], half[..3].iter().sum::<f32>()), (1.0, 0.0));
        leds.show(Some((Expression::Happy, 1.0)), true).unwrap();
        assert_eq!(duties()[3], 1.0);
        leds.show(Some((Expression::Happy, 0.3)), true).unwrap();
        leds.all(true).unwrap();
        assert_eq!(duties(), [1.0; 8], "patterns are bright");
        drop(leds);
        assert_eq!(duties(), [0.0; 8]);
    }
}
