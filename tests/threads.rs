//! Lent threads: the same bits for any number of them, and no wrong bits from any that break their promise.
#![cfg(not(miri))] // tests/miri.rs has small cases

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::matrix::{Layout, Matrix};
use common::pool::{Scoped, Started};
use common::{Rng, backends, seed};
use zeropoint::{
    Backend, Error, Gemm, MatMut, Multiplier, PackOptions, Packed, Quantized, Side, Stages, Threads, Workspace,
};

/// A product and its bits, run serially.
struct Product {
    lhs: Matrix<u8>,
    rhs: Matrix<i8>,
    gemm: Gemm<'static, i8>,
    expected: Vec<i8>,
}

impl Product {
    fn new(backend: Backend, side: Side, (m, k, n): (usize, usize, usize)) -> Self {
        let rng = Rng::new(seed());
        let lhs = Matrix::codes(m, k, Layout::COLUMNS, &rng);
        let rhs = Matrix::codes(k, n, Layout::ROWS, &rng);
        let columns = if side == Side::Rhs { n } else { m };
        let zeros: Vec<_> = (0..columns).map(|_| rng.within(0, 127)).collect();
        let bias: Vec<_> = (0..n).map(|_| rng.within(-50_000, 50_000)).collect();
        let options = PackOptions { backend: Some(backend), ..PackOptions::default() };
        let packed = match side {
            Side::Rhs => Packed::rhs_with(rhs.view().zero_point(&zeros[..]), options),
            Side::Lhs => Packed::lhs_with(lhs.view().zero_point(&zeros[..]), options),
        };
        let by = Multiplier::from_real(1.0 / (40.0 * k as f64)).unwrap();
        let gemm = Gemm::new(packed.unwrap(), &Stages::<i8>::fixed(by).bias(&bias).zero_point(-3)).unwrap();
        let mut product = Self { lhs, rhs, gemm, expected: vec![] };
        product.expected = product.run(None, 1).unwrap();
        product
    }

    fn run(&self, threads: Option<&dyn Threads>, room: usize) -> Result<Vec<i8>, Error> {
        let (m, n) = (self.lhs.rows, self.rhs.cols);
        let mut codes = vec![99; m * n];
        let out = MatMut::row_major(&mut codes, m, n)?;
        self.run_into(threads, out, &mut self.gemm.workspace_for(room))?;
        Ok(codes)
    }

    fn run_into(
        &self,
        threads: Option<&dyn Threads>,
        out: MatMut<'_, i8>,
        workspace: &mut Workspace<'_>,
    ) -> Result<(), Error> {
        let options = self.gemm.options();
        let options = threads.map_or(options, |threads| options.threads(threads));
        match self.gemm.packed().side() {
            Side::Rhs => options.run(self.lhs.view().zero_point(77), out, workspace),
            Side::Lhs => options.run(Quantized::from(self.rhs.view()), out, workspace),
        }
    }
}

/// Shapes that are split over M, over N, over both, and not at all.
const SHAPES: [(usize, usize, usize); 6] =
    [(40, 12, 30), (1, 30, 150), (150, 30, 1), (1, 2, 65), (7, 6, 40), (1, 1, 1)];

#[test]
fn bits_do_not_depend_on_threads() {
    let pool = Started::new(4);
    for backend in backends() {
        for (side, shape) in [Side::Rhs, Side::Lhs].iter().flat_map(|side| SHAPES.map(|shape| (*side, shape))) {
            let product = Product::new(backend, side, shape);
            for (threads, room) in [(0, 1), (1, 1), (2, 1), (2, 2), (3, 2), (4, 9), (33, 5)] {
                let got = product.run(Some(&Scoped(threads)), room);
                let case =
                    format!("{backend:?}, packed {side:?}, {shape:?} on {threads} threads, room for {room}");
                assert!(got.as_ref() == Ok(&product.expected), "{case}: {:?}", got.err());
            }
            assert_eq!(
                product.run(Some(&pool), 4),
                Ok(product.expected.clone()),
                "{backend:?} {side:?} {shape:?}"
            );
        }
    }
}

/// Says how many threads there are, and remembers how many tasks it was given.
struct Counting(usize, AtomicUsize);

impl Threads for Counting {
    fn threads(&self) -> usize {
        self.0
    }

    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        self.1.store(tasks, Ordering::Relaxed);
        Scoped(self.0).run(tasks, task);
    }
}

#[test]
fn as_many_tasks_as_threads_and_room() {
    for backend in backends() {
        for (side, shape) in [Side::Rhs, Side::Lhs].iter().flat_map(|side| SHAPES[..2].iter().map(|s| (*side, *s)))
        {
            let product = Product::new(backend, side, shape);
            for (threads, room) in [(2, 2), (2, 1), (3, 9)] {
                let pool = Counting(threads, AtomicUsize::new(0));
                assert_eq!(product.run(Some(&pool), room), Ok(product.expected.clone()));
                // A workspace for any number of rows may have room for more threads of few rows.
                let tasks = pool.1.into_inner();
                assert!(
                    tasks >= threads.min(room).min(2) && tasks <= threads,
                    "{backend:?} {side:?}: {tasks} tasks"
                );
            }
        }
    }
}

/// A pool that does something else than it says.
struct Wrong {
    name: &'static str,
    /// Whether it breaks its promise so that work is left undone.
    fails: bool,
    threads: fn() -> usize,
    run: fn(usize, &(dyn Fn(usize) + Sync)),
}

impl Threads for Wrong {
    fn threads(&self) -> usize {
        (self.threads)()
    }

    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        (self.run)(tasks, task);
    }
}

/// Another number each time.
fn restless() -> usize {
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    [7, 2, 0, 40][CALLS.fetch_add(1, Ordering::Relaxed) % 4]
}

fn on_many(times: usize, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
    Scoped(1).run(times * tasks, &|i| task(i % tasks));
}

const WRONG: [Wrong; 12] = [
    Wrong { name: "runs nothing", fails: true, threads: || 4, run: |_, _| {} },
    Wrong { name: "runs serially", fails: false, threads: || 4, run: |tasks, task| (0..tasks).for_each(task) },
    Wrong { name: "runs backwards", fails: false, threads: || 4, run: |n, task| (0..n).rev().for_each(task) },
    Wrong { name: "runs only the first", fails: false, threads: || 4, run: |_, task| task(0) },
    Wrong { name: "runs only the last", fails: false, threads: || 4, run: |tasks, task| task(tasks - 1) },
    Wrong {
        name: "skips every other",
        fails: false,
        threads: || 4,
        run: |n, task| (0..n).step_by(2).for_each(task),
    },
    Wrong { name: "runs all twice", fails: false, threads: || 4, run: |tasks, task| on_many(2, tasks, task) },
    Wrong { name: "runs one often", fails: false, threads: || 4, run: |_, task| Scoped(1).run(9, &|_| task(0)) },
    Wrong {
        name: "counts from one",
        fails: false,
        threads: || 4,
        run: |n, task| Scoped(1).run(n, &|i| task(i + 1)),
    },
    Wrong {
        name: "runs wild",
        fails: false,
        threads: || 4,
        run: |_, task| [usize::MAX, 1 << 40].into_iter().for_each(task),
    },
    Wrong {
        name: "has no end of threads",
        fails: false,
        threads: || usize::MAX,
        run: |n, task| on_many(1, n, task),
    },
    Wrong { name: "has none, or many", fails: false, threads: restless, run: |n, task| on_many(1, n, task) },
];

#[test]
fn wrong_pools_give_right_bits_or_an_error() {
    for backend in backends() {
        for (side, shape) in [Side::Rhs, Side::Lhs].iter().flat_map(|side| SHAPES.map(|shape| (*side, shape))) {
            let product = Product::new(backend, side, shape);
            for wrong in &WRONG {
                let case = format!("{backend:?}, packed {side:?}, {shape:?}, a pool that {}", wrong.name);
                match product.run(Some(wrong), 4) {
                    Ok(bits) => assert!(bits == product.expected && !wrong.fails, "{case}"),
                    Err(Error::Threads { done, total }) => assert!(wrong.fails && done < total, "{case}: {done}"),
                    Err(error) => panic!("{case}: {error}"),
                }
            }
        }
    }
    let product = Product::new(backends()[0], Side::Rhs, SHAPES[0]);
    let message = product.run(Some(&WRONG[0]), 4).unwrap_err().to_string();
    assert!(message.contains("threads") && message.contains("after 0 of "), "{message}");
}

/// A pool that panics half way.
struct Panicking;

impl Threads for Panicking {
    fn threads(&self) -> usize {
        4
    }

    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        task(tasks);
        panic!("a pool of its own");
    }
}

#[test]
fn a_pool_that_panics_breaks_nothing() {
    let product = Product::new(backends()[0], Side::Rhs, SHAPES[0]);
    let mut workspace = product.gemm.workspace_for(4);
    let (m, _, n) = SHAPES[0];
    let mut codes = vec![0; m * n];
    for threads in [Some(&Panicking as &dyn Threads), None] {
        let run = || product.run_into(threads, MatMut::row_major(&mut codes, m, n).unwrap(), &mut workspace);
        assert_eq!(catch_unwind(AssertUnwindSafe(run)).is_err(), threads.is_some());
    }
    assert_eq!(codes, product.expected);
}

#[test]
fn one_product_serves_many_threads() {
    for backend in backends() {
        let product = Product::new(backend, Side::Rhs, (20, 33, 40));
        let packed = product.gemm.packed().clone();
        assert_eq!(packed.as_bytes().as_ptr(), product.gemm.packed().as_bytes().as_ptr(), "clones share");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| assert_eq!(product.run(None, 1), Ok(product.expected.clone()), "{backend:?}"));
            }
        });
    }
}

#[test]
fn what_is_shared_can_be_shared() {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<Packed<'static>>();
    shared::<Gemm<'static, i32>>();
    shared::<Gemm<'static, f32>>();
    shared::<Gemm<'static, u8>>();
    shared::<Backend>();
    shared::<Error>();
    shared::<Workspace<'static>>();
    shared::<zeropoint::MatRef<'static, u8>>();
    shared::<MatMut<'static, u8>>();
    shared::<Stages<'static, i16>>();
    fn lent(_: &dyn Threads) {}
    lent(&Scoped(1));
}

/// Another's threads, which are handed out faster or slower.
struct Handed<'a>(&'a dyn Threads, Duration);

impl Threads for Handed<'_> {
    fn threads(&self) -> usize {
        self.0.threads()
    }

    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        self.0.run(tasks, task);
    }

    fn handover(&self) -> Duration {
        self.1
    }
}

/// What takes less time than handing it over stays with the caller: here the others would do nothing, which is an error.
#[test]
fn small_products_are_not_handed_over() {
    struct Lost;
    impl Threads for Lost {
        fn threads(&self) -> usize {
            2
        }
        fn run(&self, _: usize, _: &(dyn Fn(usize) + Sync)) {}
    }
    for backend in backends() {
        for shape in SHAPES {
            let product = Product::new(backend, Side::Rhs, shape);
            let slow = Handed(&Lost, Duration::from_secs(1));
            assert_eq!(product.run(Some(&slow), 2), Ok(product.expected.clone()), "{backend:?} {shape:?}");
            let quick = Handed(&Lost, Duration::ZERO);
            assert!(product.run(Some(&quick), 2).is_err(), "{backend:?} {shape:?}");
        }
    }
}

/// Threads that sleep between runs, that wait awake, and that do so for no time at all.
#[cfg(feature = "rayon")]
#[test]
fn rayon_gives_the_same_bits() {
    let awake = |us| zeropoint::RayonAwake(Duration::from_micros(us));
    let pools: [&dyn Threads; 3] = [&zeropoint::Rayon, &awake(50), &awake(0)];
    for backend in backends() {
        for shape in SHAPES {
            let product = Product::new(backend, Side::Rhs, shape);
            for pool in pools {
                let result = product.run(Some(&Handed(pool, Duration::ZERO)), pool.threads());
                assert_eq!(result, Ok(product.expected.clone()), "{backend:?} {shape:?}");
            }
        }
    }
}
