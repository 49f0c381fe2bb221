//! What threads bring: wall time of one face, of few and of a room's, on 1 thread and more.
//!
//!     cargo run --release --example engine_threads -- models/mien-slim.tflite [MOST_THREADS]
//!
//! Rounds interleave the numbers of threads. Prints the median and the 95th percentile of a call in
//! microseconds, and how much sooner than one thread the median is there. Then what the machine takes to
//! wake a thread that sleeps: one that wakes later than a face takes leaves that face to others, and how
//! often it does decides the 95th percentile of few faces.

use std::hint;
use std::path::Path;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use mien::engine::Model;

const ROUNDS: usize = 400;
/// Longer than most threads take to wake up.
const WORK: Duration = Duration::from_millis(1);
const FACES: [usize; 4] = [1, 2, 5, 30];

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().context("usage: engine_threads FILE.tflite [MOST_THREADS]")?;
    let most = match arguments.next() {
        Some(most) => most.parse()?,
        None => thread::available_parallelism()?.get(),
    };
    let models: Vec<Model> = (1..=most)
        .map(|threads| {
            let mut model = Model::read(Path::new(&file))?;
            model.set_threads(threads);
            anyhow::Ok(model)
        })
        .collect::<Result<_, _>>()?;
    println!("| faces | threads | median, µs | 95 %, µs | times one thread's speed |");
    println!("|---|---|---|---|---|");
    for faces in FACES {
        let times = measure(&models, faces)?;
        for (i, [median, high]) in times.iter().enumerate() {
            let speed = times[0][0] / median;
            println!("| {faces} | {} | {median:.0} | {high:.0} | {speed:.2} |", i + 1);
        }
    }
    let [median, high] = waking()?;
    println!(
        "\na sleeping thread wakes beside one that works in {median:.0} µs, 95 % in {high:.0} µs"
    );
    Ok(())
}

/// Median and 95th percentile of what a thread takes to wake up, µs.
fn waking() -> anyhow::Result<[f64; 2]> {
    let (wake, woken) = channel::<Instant>();
    let sleeper =
        thread::spawn(move || woken.iter().map(|sent| sent.elapsed()).collect::<Vec<_>>());
    for _ in 0..ROUNDS {
        wake.send(Instant::now())?;
        // Who wakes it works on, so that it has to wake on another core.
        let sent = Instant::now();
        while sent.elapsed() < WORK {
            hint::spin_loop();
        }
    }
    drop(wake);
    let took = sleeper.join().ok().context("a thread panicked")?;
    Ok(percentiles(took.iter().map(|took| took.as_secs_f64() * 1e6).collect()))
}

/// Median and 95th percentile.
fn percentiles(mut times: Vec<f64>) -> [f64; 2] {
    times.sort_by(f64::total_cmp);
    [times[times.len() / 2], times[times.len() * 95 / 100]]
}

/// Median and 95th percentile of a call's wall time in µs, by model.
fn measure(models: &[Model], faces: usize) -> anyhow::Result<Vec<[f64; 2]>> {
    let mut times = vec![Vec::with_capacity(ROUNDS); models.len()];
    for round in 0..ROUNDS + ROUNDS / 10 {
        for (model, times) in models.iter().zip(&mut times) {
            let input: Vec<i8> =
                (0..faces * model.input_len()).map(|i| (i * 37 % 251) as u8 as i8).collect();
            let started = Instant::now();
            model.run_raw(&input)?;
            // The first rounds warm caches.
            if round >= ROUNDS / 10 {
                times.push(started.elapsed().as_secs_f64() * 1e6);
            }
        }
    }
    Ok(times.into_iter().map(percentiles).collect())
}
