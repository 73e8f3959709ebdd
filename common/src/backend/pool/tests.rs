//! The pool alone, with connections to nobody in particular.

use std::os::fd::{AsFd, AsRawFd};

use super::*;
use crate::backend::testing::{self, LONG};
use crate::net::stream::Stream;

/// A connection to nobody in particular, its far end, and what tells it from others.
fn connection() -> (Connection, tokio::net::UnixStream, i32) {
    let (near, far) = tokio::net::UnixStream::pair().unwrap();
    let fd = near.as_fd().as_raw_fd();
    (Connection::new(Stream::Unix(near)), far, fd)
}

fn pool(workers: usize, change: impl FnOnce(&mut BackendSettings)) -> Arc<Pool> {
    let mut settings = testing::settings(Vec::new());
    change(&mut settings);
    Arc::new(Pool::new(&settings, workers))
}

async fn leased(pool: &Arc<Pool>, worker: usize) -> Lease {
    pool.lease(worker, 3).await.0.unwrap()
}

/// Leases and makes a connection for each of these workers, then gives them back in this order.
async fn filled(pool: &Arc<Pool>, workers: &[usize]) -> Vec<(tokio::net::UnixStream, i32)> {
    let mut leases = Vec::new();
    for &worker in workers {
        let mut lease = leased(pool, worker).await;
        assert!(lease.connection(Source::New, mono_now()).await.is_none());
        leases.push(lease);
    }
    let mut far_ends = Vec::new();
    for lease in leases {
        let (connection, far, fd) = connection();
        lease.take_back(connection, mono_now());
        far_ends.push((far, fd));
    }
    far_ends
}

/// The idle connection that worker `worker` gets.
async fn taken(pool: &Arc<Pool>, worker: usize) -> Option<(Lease, Connection, i32)> {
    let mut lease = leased(pool, worker).await;
    let connection = lease.connection(Source::Any, mono_now()).await?;
    let fd = connection.stream().fd().unwrap().as_raw_fd();
    Some((lease, connection, fd))
}

impl Pool {
    /// Whether every connection that is counted as open lies idle or is somebody's.
    pub(in crate::backend) fn is_balanced(&self) -> bool {
        let level = self.level();
        let in_shards: usize = self.shards.iter().map(|shard| shard.0.lock().len()).sum();
        level.idle == in_shards && self.open.load(Ordering::SeqCst) <= in_shards + level.busy
    }
}

fn level(busy: usize, idle: usize, waiting: usize) -> Level {
    Level { busy, idle, waiting }
}

#[tokio::test]
async fn the_connection_that_came_back_last_is_taken_first() {
    let pool = pool(1, |_| ());
    let far_ends = filled(&pool, &[0, 0, 0]).await;
    for (_, fd) in far_ends.iter().rev() {
        let (lease, connection, taken) = taken(&pool, 0).await.unwrap();
        assert_eq!(taken, *fd);
        drop((lease, connection));
    }
    assert!(taken(&pool, 0).await.is_none());
    assert_eq!((pool.level(), pool.open.load(Ordering::SeqCst)), (level(0, 0, 0), 0));
}

#[tokio::test]
async fn a_worker_takes_its_own_connections_before_those_of_others() {
    let pool = pool(3, |_| ());
    let far_ends = filled(&pool, &[1, 0, 2]).await;
    let mut held = Vec::new();
    for expected in [0, 2, 1] {
        let (lease, connection, fd) = taken(&pool, 1).await.unwrap();
        assert_eq!(fd, far_ends[expected].1);
        held.push((lease, connection));
    }
    assert_eq!(pool.level(), level(3, 0, 0));
}

#[tokio::test]
async fn no_more_than_keepalive_connections_are_kept_for_all_workers_together() {
    let pool = pool(2, |settings| settings.keepalive = 2);
    let _far_ends = filled(&pool, &[0, 1, 0, 1]).await;
    assert_eq!((pool.level(), pool.open.load(Ordering::SeqCst)), (level(0, 2, 0), 2));
}

/// The idle connection that a client gets for whom it is said to be.
async fn taken_by(pool: &Arc<Pool>, client: u8) -> Option<(Lease, Connection, i32)> {
    let mut lease = leased(pool, 0).await;
    lease.says(Some(said(client)));
    let connection = lease.connection(Source::Any, mono_now()).await?;
    let fd = connection.stream().fd().unwrap().as_raw_fd();
    Some((lease, connection, fd))
}

fn said(client: u8) -> Box<Header> {
    Box::new(Header::Client {
        source: ([127, 0, 0, client], 1).into(),
        destination: ([127, 0, 0, 1], 80).into(),
    })
}

/// Makes a connection for each of these clients, then gives them back in this order.
async fn filled_by(pool: &Arc<Pool>, clients: &[u8]) -> Vec<(tokio::net::UnixStream, i32)> {
    let mut far_ends = Vec::new();
    for &client in clients {
        let mut lease = leased(pool, 0).await;
        lease.says(Some(said(client)));
        assert!(lease.connection(Source::New, mono_now()).await.is_none());
        let (connection, far, fd) = connection();
        lease.take_back(connection, mono_now());
        far_ends.push((far, fd));
    }
    far_ends
}

#[tokio::test]
async fn a_connection_that_names_a_client_serves_nobody_else() {
    let pool = pool(2, |_| ());
    let far_ends = filled_by(&pool, &[1, 2, 1, 3]).await;
    for (client, expected) in [
        (1, Some(2)),
        (4, None),
        (1, Some(0)),
        (1, None),
        (3, Some(3)),
        (2, Some(1)),
    ] {
        let taken = taken_by(&pool, client).await.map(|(lease, connection, fd)| {
            drop((lease, connection));
            fd
        });
        assert_eq!(taken, expected.map(|at: usize| far_ends[at].1), "{client}");
    }
    assert_eq!((pool.level(), pool.open.load(Ordering::SeqCst)), (level(0, 0, 0), 0));
}

#[tokio::test]
async fn of_connections_that_name_clients_the_oldest_makes_room() {
    let pool = pool(1, |settings| {
        settings.keepalive = 2;
        settings.connections_max = 2;
    });
    let far_ends = filled_by(&pool, &[1, 2]).await;
    // At the limit of connections, for a new one.
    assert!(taken_by(&pool, 3).await.is_none());
    assert_eq!((pool.level(), pool.open.load(Ordering::SeqCst)), (level(0, 1, 0), 1));
    let (lease, connection, fd) = taken_by(&pool, 2).await.unwrap();
    assert_eq!(fd, far_ends[1].1, "the first was closed");
    lease.take_back(connection, mono_now());
    // At the limit of idle ones, for one that comes back.
    let more = filled_by(&pool, &[3, 4]).await;
    assert_eq!((pool.level(), pool.open.load(Ordering::SeqCst)), (level(0, 2, 0), 2));
    let mut left = Vec::new();
    for client in [3, 4] {
        left.push(taken_by(&pool, client).await.unwrap());
    }
    assert!(left.iter().map(|(.., fd)| *fd).eq(more.iter().map(|(_, fd)| *fd)));
    drop(left);
    assert!(pool.is_balanced());
}

#[tokio::test]
async fn a_dead_idle_connection_is_noticed_before_use() {
    let pool = pool(1, |_| ());
    let mut far_ends = filled(&pool, &[0, 0]).await;
    let (lease, connection, _) = taken(&pool, 0).await.unwrap();
    let newest = far_ends.pop().unwrap();
    drop(newest);
    std::future::poll_fn(|cx| connection.stream().poll_read_ready(cx))
        .await
        .unwrap();
    lease.take_back(connection, mono_now());
    assert_eq!(taken(&pool, 0).await.unwrap().2, far_ends[0].1);
    assert_eq!((pool.level(), pool.open.load(Ordering::SeqCst)), (level(0, 0, 0), 0));
}

#[tokio::test]
async fn a_sweep_closes_what_was_idle_for_too_long_on_its_own_worker() {
    let pool = pool(2, |settings| settings.idle_timeout = Duration::from_secs(60));
    let _far_ends = filled(&pool, &[0, 0, 1]).await;
    let now = mono_now();
    pool.sweep(0, now);
    assert_eq!(pool.level(), level(0, 3, 0));
    pool.sweep(0, now + Duration::from_secs(61));
    assert_eq!((pool.level(), pool.open.load(Ordering::SeqCst)), (level(0, 1, 0), 1));
}

#[tokio::test]
async fn an_idle_connection_is_closed_to_make_room_for_a_new_one_at_the_limit() {
    let pool = pool(2, |settings| settings.connections_max = 2);
    let _far_ends = filled(&pool, &[0, 1]).await;
    let mut lease = leased(&pool, 0).await;
    assert!(lease.connection(Source::New, mono_now()).await.is_none());
    assert_eq!((pool.level(), pool.open.load(Ordering::SeqCst)), (level(1, 1, 0), 2));
}

#[tokio::test]
async fn a_connection_that_comes_back_goes_to_the_first_in_line_even_if_none_may_be_kept() {
    let pool = pool(2, |settings| (settings.connections_max, settings.keepalive) = (1, 0));
    let mut lease = leased(&pool, 0).await;
    assert!(lease.connection(Source::Any, mono_now()).await.is_none());
    let first = taken(&pool, 1);
    let second = pool.lease(0, 3);
    tokio::pin!(first, second);
    assert!(is_pending(&mut first).await);
    assert!(is_pending(&mut second).await);
    assert_eq!(pool.level(), level(1, 0, 2));
    let (connection, _far, fd) = connection();
    lease.take_back(connection, mono_now());
    assert!(is_pending(&mut second).await, "first come, first served");
    let (lease, connection, taken) = first.await.unwrap();
    assert_eq!(taken, fd);
    drop((lease, connection));
    assert!(second.await.0.is_ok());
    assert_eq!((pool.level(), pool.open.load(Ordering::SeqCst)), (level(0, 0, 0), 0));
}

#[tokio::test]
async fn of_those_in_line_the_more_urgent_get_the_next_places() {
    let pool = pool(1, |settings| settings.connections_max = 1);
    let held = leased(&pool, 0).await;
    let (first, late, urgent) = (pool.lease(0, 3), pool.lease(0, 7), pool.lease(0, 0));
    tokio::pin!(first, late, urgent);
    assert!(is_pending(&mut first).await && is_pending(&mut late).await && is_pending(&mut urgent).await);
    drop(held);
    assert!(is_pending(&mut urgent).await, "the first in line has the turn already");
    drop(first.await.0.unwrap());
    assert!(is_pending(&mut late).await);
    drop(urgent.await.0.unwrap());
    drop(late.await.0.unwrap());
    assert_eq!(pool.level(), level(0, 0, 0));
}

#[tokio::test]
async fn nobody_waits_when_the_queue_is_full_nor_for_longer_than_its_timeout() {
    for (queue_max, queue_timeout) in [(0, LONG), (1, Duration::from_millis(1))] {
        let pool = pool(1, |settings| {
            settings.connections_max = 1;
            settings.queue_max = queue_max;
            settings.queue_timeout = queue_timeout;
        });
        let lease = leased(&pool, 0).await;
        assert_eq!(pool.lease(0, 3).await.0.unwrap_err(), LimitReached);
        assert_eq!(pool.level(), level(1, 0, 0));
        drop(lease);
        assert!(pool.lease(0, 3).await.0.is_ok());
    }
}

#[tokio::test]
async fn who_leaves_the_queue_takes_no_lease_along() {
    let pool = pool(1, |settings| settings.connections_max = 1);
    let lease = leased(&pool, 0).await;
    {
        let leaving = pool.lease(0, 3);
        tokio::pin!(leaving);
        assert!(is_pending(&mut leaving).await);
        drop(lease); // the lease is on its way to the one that leaves
    }
    assert_eq!(pool.level(), level(0, 0, 0));
    assert!(pool.lease(0, 3).await.0.is_ok());
}

#[test]
fn the_limit_holds_while_many_workers_take_from_each_other() {
    const WORKERS: usize = 4;
    let pool = pool(WORKERS, |settings| {
        (settings.connections_max, settings.keepalive, settings.queue_max) = (3, 2, 64);
    });
    let (far_ends, reused) = (Mutex::new(Vec::new()), AtomicUsize::new(0));
    let work = |worker: usize| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let one = async |task: usize| {
            for turn in 0..200_usize {
                let mut lease = leased(&pool, worker).await;
                let renew = (turn + task).is_multiple_of(7);
                let source = if renew { Source::New } else { Source::Any };
                let connection = if let Some(idle) = lease.connection(source, mono_now()).await {
                    reused.fetch_add(1, Ordering::SeqCst);
                    idle
                } else {
                    let (new, far, _) = connection();
                    far_ends.lock().push(far);
                    new
                };
                assert!(pool.open.load(Ordering::SeqCst) <= 3);
                tokio::task::yield_now().await;
                if !turn.is_multiple_of(5) {
                    lease.take_back(connection, mono_now());
                }
                pool.sweep(worker, mono_now());
            }
        };
        runtime.block_on(async { tokio::join!(one(0), one(1), one(2)) });
        runtime
    };
    // The runtimes live until all are done: connections taken over are registered with their reactors.
    let runtimes: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..WORKERS).map(|worker| scope.spawn(move || work(worker))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let level = pool.level();
    assert_eq!((level.busy, level.waiting), (0, 0));
    assert_eq!(level.idle, pool.open.load(Ordering::SeqCst));
    assert_eq!(far_ends.lock().len() + reused.load(Ordering::SeqCst), WORKERS * 3 * 200);
    assert!(reused.load(Ordering::SeqCst) > 0);
    drop(runtimes);
}

/// Polls once; whether there is nothing yet.
async fn is_pending<F: Future>(future: &mut std::pin::Pin<&mut F>) -> bool {
    std::future::poll_fn(|cx| std::task::Poll::Ready(future.as_mut().poll(cx).is_pending())).await
}
