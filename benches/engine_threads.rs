//! What threads bring: wall time of one face, of few and of a room's, on 1 thread and more.
//!
//!     cargo run --release --example engine_threads -- models/mien-slim.tflite [MOST_THREADS]
//!
//! Rounds interleave the numbers of threads. Prints the median and the 95th percentile of a call in
//! microseconds, and how much sooner than one thread the median is there.

use std::path::Path;
use std::thread;
use std::time::Instant;

use anyhow::Context;
use mien::engine::Model;

const ROUNDS: usize = 400;
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
    Ok(())
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
    Ok(times
        .iter_mut()
        .map(|times| {
            times.sort_by(f64::total_cmp);
            [times[times.len() / 2], times[times.len() * 95 / 100]]
        })
        .collect())
}
