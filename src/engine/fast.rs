//! The plan of a model, checked against its reference, on as many threads as are allowed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};

use super::kernels;
use super::network::Int8Network;
use super::plan::{Plan, Workspace};
use super::test_vector;

/// A plan and the memory that it runs in.
pub struct Fast {
    runner: Arc<Runner>,
    /// None if it runs where it is called.
    helpers: Option<Helpers>,
}

/// What all threads work at.
struct Runner {
    plan: Plan,
    /// Of threads that do not run at the moment.
    workspaces: Mutex<Vec<Workspace>>,
    input_len: usize,
    output_len: usize,
}

/// Threads that help the one that calls.
struct Helpers {
    pool: ThreadPool,
    /// Where they run pictures by rows, if that pays.
    rows: Option<Mutex<Workspace>>,
}

/// More threads would only take memory.
const MAX_THREADS: usize = 64;

/// A picture that takes one thread less is not dealt out by rows: its stages would take less than
/// threads take to wake up.
const ROWS_PAY: Duration = Duration::from_micros(500);

impl Fast {
    /// Plans a network, and runs the test picture, of which `expected` is to come; else says why it is
    /// left to the reference. It then computes all but the `forgotten` outputs.
    pub fn checked(
        network: &Int8Network,
        expected: &[i8],
        forgotten: &[usize],
    ) -> Result<Self, String> {
        // Whatever is wrong with a network, the reference can still have a go at it.
        let fast = catch_unwind(AssertUnwindSafe(|| {
            let fast = Self::planned(network)?;
            let picture = test_vector::picture(fast.runner.input_len);
            let codes = fast.run(&picture);
            if codes != expected {
                let wrong = codes.iter().zip(expected).filter(|(a, b)| a != b).count();
                let all = expected.len();
                return Err(format!(
                    "{wrong} of {all} codes of the test picture are not those expected"
                ));
            }
            let mut without = network.clone();
            if forgotten.is_empty() {
                return Ok(fast);
            }
            if !without.forget_channels(forgotten) {
                log::warn!("the model computes gender, which is dropped at once");
                return Ok(fast);
            }
            let fast = Self::planned(&without)?;
            let codes = fast.run(&picture);
            let kept = (0..expected.len()).filter(|i| !forgotten.contains(i));
            match kept.into_iter().all(|i| codes[i] == expected[i]) {
                true => Ok(fast),
                false => Err("without gender, it gives other codes of the test picture".into()),
            }
        }));
        fast.unwrap_or_else(|_| Err("its plan panicked".into()))
    }

    fn planned(network: &Int8Network) -> Result<Self, String> {
        let plan = Plan::new(network, kernels::select()).map_err(|error| error.to_string())?;
        let [input_len, output_len] = [network.input, network.output]
            .map(|value| network.values[value].shape.iter().product());
        let runner = Runner { plan, workspaces: Mutex::default(), input_len, output_len };
        Ok(Self { runner: Arc::new(runner), helpers: None })
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.runner.plan
    }

    /// Runs it on this many threads from now on, the caller's among them, [`MAX_THREADS`] at most.
    pub fn set_threads(&mut self, threads: usize) -> Result<(), ThreadPoolBuildError> {
        let threads = threads.min(MAX_THREADS);
        self.helpers = None;
        if threads > 1 {
            let pool = ThreadPoolBuilder::new().num_threads(threads - 1);
            let pool = pool.thread_name(|i| format!("engine-{i}")).build()?;
            let rows = self.rows_pay().then(|| Mutex::new(self.runner.plan.workspace(threads - 1)));
            self.helpers = Some(Helpers { pool, rows });
        }
        Ok(())
    }

    /// Whether a picture takes one thread long enough to be dealt out by rows.
    fn rows_pay(&self) -> bool {
        let picture = test_vector::picture(self.runner.input_len);
        (0..3).all(|_| {
            let started = Instant::now();
            self.runner.run(&picture, &mut vec![0; self.runner.output_len]);
            started.elapsed() > ROWS_PAY
        })
    }

    /// The output's codes for pictures one after the other.
    pub fn run(&self, input: &[i8]) -> Vec<i8> {
        let pictures = input.len() / self.runner.input_len;
        let mut output = vec![0; pictures * self.runner.output_len];
        if let Some(helpers) = &self.helpers {
            if let Some(mut workspace) = helpers.rows_for(pictures) {
                let workspace = &mut *workspace;
                helpers.pool.install(|| self.runner.plan.run(workspace, input, &mut output));
                return output;
            }
            if pictures > 1 {
                return Batch::run(&self.runner, &helpers.pool, input, output);
            }
        }
        self.runner.run(input, &mut output);
        output
    }
}

impl Runner {
    /// Runs pictures on the caller's thread.
    fn run(&self, input: &[i8], output: &mut [i8]) {
        let lent = self.workspaces.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut workspace = lent.unwrap_or_else(|| self.plan.workspace(1));
        self.plan.run(&mut workspace, input, output);
        self.workspaces.lock().unwrap_or_else(PoisonError::into_inner).push(workspace);
    }
}

/// Pictures of which each thread takes the next one when it is done with one, so that none waits long
/// for another. A helper that the CPU had no time for finds nothing left to do, and nobody waits for it.
struct Batch {
    runner: Arc<Runner>,
    input: Vec<i8>,
    /// Pictures that somebody has taken.
    taken: AtomicUsize,
    work: Mutex<Work>,
    all_done: Condvar,
}

struct Work {
    output: Vec<i8>,
    /// Pictures whose output is not there.
    left: usize,
    panicked: bool,
}

impl Batch {
    fn run(runner: &Arc<Runner>, pool: &ThreadPool, input: &[i8], output: Vec<i8>) -> Vec<i8> {
        let pictures = input.len() / runner.input_len;
        let batch = Arc::new(Self {
            runner: Arc::clone(runner),
            input: input.to_vec(),
            taken: AtomicUsize::new(0),
            work: Mutex::new(Work { output, left: pictures, panicked: false }),
            all_done: Condvar::new(),
        });
        for _ in 0..pool.current_num_threads().min(pictures - 1) {
            let batch = Arc::clone(&batch);
            pool.spawn(move || batch.help());
        }
        batch.help();
        let mut work = batch.lock();
        while work.left > 0 {
            work = batch.all_done.wait(work).unwrap_or_else(PoisonError::into_inner);
        }
        assert!(!work.panicked, "a plan panicked");
        std::mem::take(&mut work.output)
    }

    fn help(&self) {
        let Runner { input_len, output_len, .. } = *self.runner;
        let mut codes = vec![0; output_len];
        loop {
            let picture = self.taken.fetch_add(1, Ordering::Relaxed);
            let Some(input) = self.input.chunks_exact(input_len).nth(picture) else { return };
            let ran = catch_unwind(AssertUnwindSafe(|| self.runner.run(input, &mut codes)));
            let mut work = self.lock();
            work.output[picture * output_len..][..output_len].copy_from_slice(&codes);
            work.panicked |= ran.is_err();
            work.left -= 1;
            if work.left == 0 {
                self.all_done.notify_one();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Helpers {
    /// The memory for rows, if so few pictures are done sooner by rows, which the caller's thread has
    /// no part in, than by whole pictures, of which some threads may get none; and if no other caller
    /// has it.
    fn rows_for(&self, pictures: usize) -> Option<MutexGuard<'_, Workspace>> {
        let threads = self.pool.current_num_threads();
        let sooner = threads > 1 && pictures < pictures.div_ceil(threads + 1) * threads;
        match self.rows.as_ref().filter(|_| sooner)?.try_lock() {
            Ok(workspace) => Some(workspace),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}
