use super::*;

const FRAME_S: f32 = 1.0 / 15.0;

fn at(frame: u32) -> Duration {
    Duration::from_secs_f32(FRAME_S) * frame
}

fn face_at(x: f32) -> Rect {
    Rect { x, y: 40.0, w: 60.0, h: 60.0 }
}

/// `share` for one expression, the rest spread over the others.
fn showing(expression: Expression, share: f32) -> Scores {
    let mut shares = [(1.0 - share) / 6.0; 7];
    shares[expression as usize] = share;
    Scores { expression: shares, gender: Some([0.9, 0.1]) }
}

fn tracker() -> Tracker {
    Tracker::new(TrackerOptions::default(), 0.0)
}

#[test]
fn a_face_appears_with_its_second_sighting_and_keeps_its_number() {
    let mut tracker = tracker();
    let happy = showing(Expression::Happy, 0.9);
    assert!(tracker.update(at(0), &[(face_at(0.0), happy)]).is_empty());
    for frame in 1..20 {
        let tracks = tracker.update(at(frame), &[(face_at(frame as f32 * 3.0), happy)]);
        assert_eq!(tracks.len(), 1);
        assert_eq!((tracks[0].id, tracks[0].age_frames), (1, u64::from(frame) + 1));
        assert_eq!(tracks[0].rect, face_at(frame as f32 * 3.0));
    }
}

#[test]
fn a_single_false_find_is_never_shown() {
    let mut tracker = tracker();
    tracker.update(at(0), &[(face_at(0.0), showing(Expression::Sad, 0.9))]);
    for frame in 1..40 {
        assert!(tracker.update(at(frame), &[]).is_empty());
    }
    let back = tracker.update(at(40), &[(face_at(0.0), showing(Expression::Sad, 0.9))]);
    assert!(back.is_empty(), "the first sighting should be forgotten by now");
}

#[test]
fn a_flickering_answer_does_not_flip_the_one_shown() {
    let mut tracker = tracker();
    for frame in 0..300 {
        // Two frames in five, two of them in a row, the network says sad.
        let noisy = if frame % 5 >= 3 { Expression::Sad } else { Expression::Neutral };
        let tracks = tracker.update(at(frame), &[(face_at(0.0), showing(noisy, 0.8))]);
        assert!(tracks.iter().all(|t| t.expression == Some(Expression::Neutral)), "frame {frame}");
    }
}

#[test]
fn a_real_change_shows_within_the_documented_time_at_any_frame_rate() {
    let options = TrackerOptions::default();
    let lag = options.expression_half_life_s * (2.0 / (1.0 - options.challenge_margin)).log2()
        + options.challenge_s;
    for frame_s in [0.02, 0.1, 0.25] {
        let mut tracker = tracker();
        let time = |frame: u32| Duration::from_secs_f32(frame_s) * frame;
        let change = 40;
        for frame in 0..change {
            tracker.update(time(frame), &[(face_at(0.0), showing(Expression::Neutral, 1.0))]);
        }
        let mut changed = None;
        for frame in change..change + 200 {
            let found = [(face_at(0.0), showing(Expression::Happy, 1.0))];
            let tracks = tracker.update(time(frame), &found);
            if tracks[0].expression == Some(Expression::Happy) {
                changed = Some((frame - change + 1) as f32 * frame_s);
                break;
            }
        }
        let took = changed.expect("the change should show");
        // Lead and challenge are each rounded up to a frame; one more for rounding in f32.
        assert!(took >= options.challenge_s, "{frame_s} s a frame: took {took} s");
        assert!(took <= lag + 3.0 * frame_s, "{frame_s} s a frame: took {took} s, not {lag}");
    }
}

#[test]
fn rivals_taking_turns_do_not_keep_an_outdated_answer_up() {
    let options = TrackerOptions { expression_half_life_s: 0.0, ..Default::default() };
    let mut tracker = Tracker::new(options, 0.0);
    for frame in 0..5 {
        tracker.update(at(frame), &[(face_at(0.0), showing(Expression::Happy, 0.9))]);
    }
    for frame in 5..30 {
        let rival = [Expression::Sad, Expression::Angry][frame as usize % 2];
        tracker.update(at(frame), &[(face_at(0.0), showing(rival, 0.9))]);
    }
    assert_ne!(tracker.update(at(30), &[])[0].expression, Some(Expression::Happy));
}

/// What a lone face shows frame by frame while its strongest expression has these shares, as the
/// tracker is unsure below one half.
fn shown(shares: impl IntoIterator<Item = (Expression, f32)>) -> Vec<Option<Expression>> {
    let mut tracker = Tracker::new(
        TrackerOptions {
            expression_half_life_s: 0.0,
            sightings_to_appear: 1,
            ..Default::default()
        },
        0.5,
    );
    let faces = shares.into_iter().map(|(expression, share)| showing(expression, share));
    let frame = |(frame, face)| tracker.update(at(frame), &[(face_at(0.0), face)])[0].expression;
    (0..).zip(faces).map(frame).collect()
}

#[test]
fn a_face_that_is_unclear_shows_nothing_until_it_is_clear_for_a_while() {
    use Expression::{Happy, Sad};
    assert_eq!(shown([(Happy, 0.5)]), [Some(Happy)], "at the threshold it is sure");
    assert_eq!(shown([(Happy, 0.49)]), [None]);
    let clear_for = |frames| {
        let unclear = std::iter::repeat_n((Happy, 0.4), 5);
        let shown = shown(unclear.chain(std::iter::repeat_n((Sad, 0.8), frames)));
        shown[shown.len() - 1]
    };
    // 0.2 s are 3 frames, and the first one starts the clock.
    assert_eq!((clear_for(3), clear_for(5)), (None, Some(Sad)));
}

#[test]
fn a_share_about_the_threshold_does_not_flicker() {
    let wavering = |low: f32, high: f32| {
        shown((0..300).map(|frame| (Expression::Happy, if frame % 8 < 4 { high } else { low })))
    };
    let shown = wavering(0.42, 0.55);
    assert!(shown.iter().all(|answer| *answer == Some(Expression::Happy)), "{shown:?}");
    let shown = wavering(0.3, 0.48);
    assert!(shown.iter().all(Option::is_none), "{shown:?}");
}

#[test]
fn an_answer_is_withdrawn_once_it_is_well_below_the_threshold_for_a_while() {
    let mut shares = vec![(Expression::Happy, 0.9); 5];
    shares.extend([(Expression::Happy, 0.39); 6]);
    let shown = shown(shares);
    assert_eq!(shown[6], Some(Expression::Happy), "not at once");
    assert_eq!(shown[10], None);
    // An answer that another has overtaken is withdrawn too, though the other is too weak.
    let shown =
        self::shown([(Expression::Happy, 0.9); 5].into_iter().chain([(Expression::Sad, 0.45); 6]));
    assert_eq!(shown[10], None);
}

#[test]
fn smoothing_depends_on_time_not_on_the_number_of_frames() {
    let after_a_half_life = |frames: u32| {
        let mut tracker = tracker();
        let end = Duration::from_secs(10);
        for _ in 0..2 {
            tracker.update(end, &[(face_at(0.0), showing(Expression::Sad, 1.0))]);
        }
        let half_life = TrackerOptions::default().expression_half_life_s;
        for frame in 1..=frames {
            let dt = Duration::from_secs_f32(half_life * frame as f32 / frames as f32);
            tracker.update(end + dt, &[(face_at(0.0), showing(Expression::Happy, 1.0))]);
        }
        tracker.faces[0].track.scores.expression[Expression::Happy as usize]
    };
    for frames in [1, 2, 7, 30] {
        let share = after_a_half_life(frames);
        assert!((share - 0.5).abs() < 1e-3, "{frames} frames: {share}");
    }
}

#[test]
fn gender_does_not_follow_a_short_doubt() {
    let mut tracker = tracker();
    let face = |gender| {
        let neutral = showing(Expression::Neutral, 0.9);
        [(face_at(0.0), Scores { gender: Some(gender), ..neutral })]
    };
    for frame in 0..30 {
        tracker.update(at(frame), &face([0.8, 0.2]));
    }
    for frame in 30..45 {
        let tracks = tracker.update(at(frame), &face([0.3, 0.7]));
        assert_eq!(tracks[0].gender, Some(Gender::Female), "frame {frame}");
    }
    for frame in 45..135 {
        tracker.update(at(frame), &face([0.3, 0.7]));
    }
    assert_eq!(tracker.update(at(135), &[])[0].gender, Some(Gender::Male));
}

#[test]
fn crossing_faces_keep_their_numbers_while_one_hides_the_other() {
    let mut tracker = tracker();
    let (happy, sad) = (showing(Expression::Happy, 0.9), showing(Expression::Sad, 0.9));
    for frame in 0..30 {
        let (front, back) = (face_at(10.0 * frame as f32), face_at(290.0 - 10.0 * frame as f32));
        let mut found = vec![(front, happy)];
        if front.iou(&back) < 0.5 {
            found.push((back, sad));
        }
        let tracks = tracker.update(at(frame), &found).to_vec();
        if frame > 0 {
            assert_eq!(tracks.len(), 2, "frame {frame}");
            assert_eq!(tracks[0].expression, Some(Expression::Happy), "frame {frame}");
            assert_eq!(tracks[1].expression, Some(Expression::Sad), "frame {frame}");
        }
    }
    let ends: Vec<_> = tracker.update(at(30), &[]).iter().map(|t| (t.id, t.rect.x)).collect();
    assert_eq!(ends, [(1, 290.0), (2, 0.0)]);
}

#[test]
fn a_missed_face_stays_for_the_gap_and_comes_back_as_itself() {
    let mut tracker = tracker();
    let happy = showing(Expression::Happy, 0.9);
    for frame in 0..10 {
        tracker.update(at(frame), &[(face_at(5.0), happy)]);
    }
    for frame in 10..20 {
        let tracks = tracker.update(at(frame), &[]);
        assert_eq!((tracks.len(), tracks[0].last_seen), (1, at(9)));
    }
    assert_eq!(tracker.update(at(20), &[(face_at(8.0), happy)])[0].id, 1);
    for frame in 21..40 {
        tracker.update(at(frame), &[]);
    }
    assert!(tracker.update(at(40), &[]).is_empty());
    tracker.update(at(41), &[(face_at(8.0), happy)]);
    assert_eq!(tracker.update(at(42), &[(face_at(8.0), happy)])[0].id, 2, "numbers are not reused");
}

#[test]
fn held_frames_keep_what_was_found_and_change_no_answer() {
    let mut tracker = tracker();
    tracker.update(at(0), &[(face_at(0.0), showing(Expression::Happy, 0.9))]);
    let shown = tracker.hold(at(1)).to_vec();
    assert_eq!(shown.len(), 1, "a still picture's face should be shown");
    let held = tracker.hold(Duration::from_secs(60)).to_vec();
    assert_eq!(held[0].scores, shown[0].scores);
    assert_eq!(held[0].last_seen, Duration::from_secs(60));

    // A face that was missed before the picture came to rest is forgotten all the same.
    tracker.update(Duration::from_millis(60_100), &[]);
    tracker.hold(Duration::from_millis(60_500));
    assert!(tracker.hold(Duration::from_millis(61_500)).is_empty());
}

#[test]
fn time_running_backwards_and_empty_rectangles_are_harmless() {
    let mut tracker = tracker();
    let nothing = Rect { x: f32::NAN, y: 0.0, w: 0.0, h: -1.0 };
    for millis in [1000, 900, 1000, 0] {
        let found = [
            (nothing, showing(Expression::Fear, 0.5)),
            (face_at(0.0), showing(Expression::Fear, 0.5)),
        ];
        tracker.update(Duration::from_millis(millis), &found);
    }
    let tracks = tracker.hold(Duration::ZERO);
    assert!(tracks.iter().all(|t| t.scores.expression.iter().all(|s| s.is_finite())));
}

#[test]
fn options_are_checked() {
    assert_eq!(TrackerOptions::default().validate(), Ok(()));
    let options = TrackerOptions { challenge_s: f32::NAN, ..Default::default() };
    assert_eq!(options.validate().unwrap_err().key, "challenge_s");
    assert!(toml::from_str::<TrackerOptions>("half_life = 3").is_err());
    let options: TrackerOptions = toml::from_str("challenge_s = 0.5").unwrap();
    assert_eq!(options, TrackerOptions { challenge_s: 0.5, ..Default::default() });
}

#[test]
fn numbers_start_again_each_day_but_no_two_faces_share_one() {
    let (day, mut tracker) = (Duration::from_secs(86_400), tracker());
    let happy = showing(Expression::Happy, 0.9);
    let mut ids = |time: Duration, xs: &[f32]| -> Vec<u64> {
        let found: Vec<_> = xs.iter().map(|&x| (face_at(x), happy)).collect();
        tracker.update(time, &found);
        tracker.update(time + at(1), &found).iter().map(|track| track.id).collect()
    };
    assert_eq!(ids(at(0), &[0.0, 200.0]), [1, 2]);
    // The first leaves, the second stays over midnight.
    let before = day - at(10);
    assert_eq!(ids(before, &[200.0]), [2]);
    assert_eq!(ids(day, &[200.0, 400.0, 600.0, 800.0]), [1, 2, 3, 4]);
    assert_eq!(ids(day + at(5), &[200.0]), [1, 2, 3, 4]);
}
