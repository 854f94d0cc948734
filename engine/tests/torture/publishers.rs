//! Publishers that never stop: orders, refunds of them, and bodies that no view can use.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use async_nats::jetstream;

/// How many threads publish.
const THREADS: u64 = 2;
/// The pause of each between two sets of messages.
const PAUSE: Duration = Duration::from_millis(60);
/// The messages of a set.
const SET: u64 = 10;
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(2);

/// The orders that the server has acknowledged, by sequence.
pub(crate) type Acknowledged = Arc<Mutex<Vec<(u64, u64)>>>;

/// Raised when the server loses some of them: what was acknowledged before no longer counts.
type Generation = Arc<AtomicU64>;

/// The running threads. They end when it is dropped.
pub(crate) struct Publishers {
    /// Sequence and number of each order that was acknowledged.
    pub(crate) acknowledged: Acknowledged,
    generation: Generation,
    end: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Publishers {
    /// Forgets what was acknowledged so far.
    pub(crate) fn forget(&self) {
        let mut acknowledged = self.acknowledged.lock().unwrap();
        self.generation.fetch_add(1, Ordering::SeqCst);
        acknowledged.clear();
    }

    pub(crate) fn start(url: &str, seed: u64) -> Publishers {
        let generation = Generation::default();
        let (acknowledged, end, next) = (Acknowledged::default(), Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(1)));
        let threads = (0..THREADS).map(|thread| {
            let (url, acknowledged, end, next) = (url.to_owned(), Arc::clone(&acknowledged), Arc::clone(&end), Arc::clone(&next));
            let generation = Arc::clone(&generation);
            let rng = fastrand::Rng::with_seed(seed.wrapping_add(thread));
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(publish(&url, rng, &next, &acknowledged, &generation, &end));
            })
        });
        let threads = threads.collect();
        Publishers { acknowledged, generation, end, threads }
    }
}

impl Drop for Publishers {
    fn drop(&mut self) {
        self.end.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

async fn publish(
    url: &str,
    mut rng: fastrand::Rng,
    next: &AtomicU64,
    acknowledged: &Acknowledged,
    generation: &AtomicU64,
    end: &AtomicBool,
) {
    let client = async_nats::ConnectOptions::new().retry_on_initial_connect().connect(url).await.unwrap();
    let mut context = jetstream::new(client);
    context.set_timeout(ACKNOWLEDGED_WITHIN);
    while !end.load(Ordering::SeqCst) {
        // Now and then many at once.
        let set = if rng.u8(..100) == 0 { SET * 50 } else { SET };
        let mut acks = Vec::new();
        let current = generation.load(Ordering::SeqCst);
        for _ in 0..set {
            let order = next.fetch_add(1, Ordering::SeqCst);
            let is_refund = order > 10 && rng.u8(..10) == 0;
            let (subject, body) = match is_refund {
                true => ("orders.refunded", refund(order - rng.u64(1..10), &mut rng)),
                false => ("orders.placed", self::order(order, &mut rng)),
            };
            if let Ok(ack) = context.publish(subject, body.into()).await {
                acks.push((order, is_refund, ack));
            }
        }
        for (order, is_refund, ack) in acks {
            let Ok(Ok(ack)) = tokio::time::timeout(ACKNOWLEDGED_WITHIN, ack.into_future()).await else { break };
            if !is_refund {
                let mut acknowledged = acknowledged.lock().unwrap();
                if generation.load(Ordering::SeqCst) == current {
                    acknowledged.push((ack.sequence, order));
                }
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// One event a second, some of them late. One in 300 is no JSON, and the total of one in 300 is none.
fn order(order: u64, rng: &mut fastrand::Rng) -> String {
    let (customer, country) = (rng.u32(..300), ["DE", "FR", "JP", "BR", "NZ"][rng.usize(..5)]);
    let (euros, cents) = (rng.u32(..1000), rng.u32(..100));
    let late = if rng.u8(..20) == 0 { rng.u64(..300) } else { rng.u64(..20) };
    let time = 86_400 * 20 + 3_600 + order - late;
    let (day, hour, minute, second) = (time / 86_400 - 20, time / 3_600 % 24, time / 60 % 60, time % 60);
    let (month, day) = (1 + day / 28, 1 + day % 28);
    let total = match rng.u16(..300) {
        0 => return format!("no JSON {order}"),
        1 => "much".to_owned(),
        _ => format!("{euros}.{cents:02}"),
    };
    format!(
        "{{\"order_id\":{order},\"customer\":{customer},\"country\":\"{country}\",\"total\":\"{total}\",\
         \"placed_at\":\"2026-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}\"}}"
    )
}

fn refund(order: u64, rng: &mut fastrand::Rng) -> String {
    format!("{{\"order_id\":{order},\"amount\":\"{}.50\"}}", rng.u32(..100))
}
