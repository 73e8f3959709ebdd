//! The last hour in steps of ten seconds, kept in memory, for `/history` and the dashboard's charts.
//!
//! Pure: fed once per second, bounded by [`POINTS_MAX`]. It ends with the process; Prometheus keeps longer ones.

use std::collections::VecDeque;

use common::telemetry::json::{Array, Object, line};
use common::time::WallTime;

use super::kernel::{CAUSES, Kernel};
use super::traffic::{CLASSES, Traffic};

/// Length of a step in seconds.
pub const STEP: u64 = 10;
/// Steps that are kept: one hour.
const POINTS_MAX: usize = 360;

/// The last hour.
#[derive(Debug, Default)]
pub struct History {
    /// Finished steps, oldest first.
    points: VecDeque<Point>,
    /// The step that runs.
    open: Option<Open>,
}

/// One finished step.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// When it began.
    at: WallTime,
    traffic: Traffic,
    /// As it was at the end; `lost` is what was lost during the step.
    kernel: Option<Kernel>,
}

/// A step that runs: how things stood when it began, and how they stand.
#[derive(Debug)]
struct Open {
    at: WallTime,
    first: (Traffic, Option<Kernel>),
    last: (Traffic, Option<Kernel>),
    /// Of all seconds so far.
    queue_fill: Option<f64>,
}

impl History {
    /// Takes in how things stand now.
    ///
    /// A step belongs to a stretch of wall time: after a jump of the clock a new one begins.
    pub fn feed(&mut self, now: WallTime, traffic: Traffic, kernel: Option<Kernel>) {
        let at = WallTime::from_unix_secs(now.unix_secs() / STEP * STEP);
        let queue_fill = kernel.as_ref().and_then(|kernel| kernel.queue_fill);
        match &mut self.open {
            Some(open) if open.at == at => {
                open.queue_fill = open.queue_fill.into_iter().chain(queue_fill).reduce(f64::max);
                // A kernel that was not read at the step's beginning gives no difference, but a start for one.
                if open.first.1.is_none() {
                    open.first.1.clone_from(&kernel);
                }
                open.last = (traffic, kernel);
            }
            _ => {
                let now = (traffic, kernel);
                let first = self.open.take().map_or_else(|| now.clone(), |open| self.finish(open));
                self.open = Some(Open {
                    at,
                    first,
                    last: now,
                    queue_fill,
                });
            }
        }
    }

    /// Keeps a step; how things stood at its end is where the next one begins.
    fn finish(&mut self, open: Open) -> (Traffic, Option<Kernel>) {
        let Open {
            at,
            first,
            last,
            queue_fill,
        } = open;
        let kernel = last.1.as_ref().map(|now| Kernel {
            lost: first
                .1
                .as_ref()
                .map_or_else(Default::default, |first| now.lost_since(first)),
            queue_fill,
            ..*now
        });
        if self.points.len() >= POINTS_MAX {
            self.points.pop_front();
        }
        self.points.push_back(Point {
            at,
            traffic: last.0.since(&first.0),
            kernel,
        });
        last
    }

    /// The newest finished step.
    pub fn last(&self) -> Option<&Point> {
        self.points.back()
    }

    /// All of it as JSON.
    pub fn report(&self) -> Vec<u8> {
        line(|object| {
            object.field("schema", 1_u64).field("step_seconds", STEP);
            let mut causes = object.array("causes");
            for cause in CAUSES {
                causes.item(cause);
            }
            drop(causes);
            let mut points: Array<'_> = object.array("points");
            for point in &self.points {
                point.describe(points.object());
            }
        })
    }
}

impl Point {
    /// The step as JSON. What is not known is null; of the causes only those stand there that lost something.
    pub fn describe(&self, mut object: Object<'_>) {
        object
            .field("at", self.at.unix_secs())
            .field("requests", self.traffic.requests())
            .field("connections", self.traffic.accepted)
            .field("hit_ratio", self.traffic.hit_ratio())
            .field("latency_p50_seconds", self.traffic.latency(0.5))
            .field("latency_p99_seconds", self.traffic.latency(0.99));
        let mut classes = object.object("responses");
        for ((class, _), count) in CLASSES.iter().zip(self.traffic.classes) {
            classes.some(class, (count > 0).then_some(count));
        }
        drop(classes);
        let Some(kernel) = &self.kernel else {
            object.field("lost", None::<u64>);
            return;
        };
        let mut lost = object.object("lost");
        for (cause, count) in CAUSES.into_iter().zip(kernel.lost) {
            lost.some(cause, (count > 0).then_some(count));
        }
        drop(lost);
        object
            .field("time_wait", kernel.time_wait)
            .field("local_ports", kernel.local_ports)
            .field("queue_fill", kernel.queue_fill);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(count: u64) -> Traffic {
        Traffic {
            classes: [0, count, 0, 0, 0],
            ..Traffic::default()
        }
    }

    fn lost(count: u64) -> Option<Kernel> {
        Some(Kernel {
            lost: [count, 0, 0, 0, 0],
            ..Kernel::default()
        })
    }

    /// Fed at these seconds with these totals of requests and lost handshakes: per step what came to pass.
    fn steps(fed: &[(u64, u64, u64)]) -> Vec<(u64, u64, u64)> {
        let mut history = History::default();
        for (at, answered, dropped) in fed {
            history.feed(WallTime::from_unix_secs(*at), requests(*answered), lost(*dropped));
        }
        let lost = |point: &Point| point.kernel.as_ref().map_or(0, |kernel| kernel.lost[0]);
        history
            .points
            .iter()
            .map(|point| (point.at.unix_secs(), point.traffic.requests(), lost(point)))
            .collect()
    }

    #[test]
    fn each_step_holds_what_came_to_pass_in_it_and_nothing_is_lost_between_steps() {
        for (fed, expected) in [
            (&[(100, 5, 9)][..], &[][..]),
            (&[(100, 5, 9), (109, 7, 9), (110, 8, 9)], &[(100, 2, 0)]),
            (
                &[(101, 0, 0), (109, 1, 1), (110, 3, 3), (119, 6, 4), (120, 6, 4)],
                &[(100, 1, 1), (110, 5, 3)],
            ),
            // A gap of the clock makes no steps of its own, a counter that begins anew no loss.
            (
                &[(100, 1, 8), (150, 4, 2), (99, 6, 2), (100, 6, 2)],
                &[(100, 0, 0), (150, 3, 0), (90, 2, 0)],
            ),
        ] {
            assert_eq!(steps(fed), expected, "{fed:?}");
        }
    }

    #[test]
    fn it_never_holds_more_than_an_hour() {
        let fed: Vec<_> = (0..3 * 360).map(|step| (step * STEP, step, 0)).collect();
        let steps = steps(&fed);
        assert_eq!(steps.len(), POINTS_MAX);
        assert_eq!(steps.last(), Some(&((3 * 360 - 2) * STEP, 1, 0)));
    }

    #[test]
    fn the_fullest_second_of_a_step_is_kept() {
        let mut history = History::default();
        for (at, fill) in [(100, 0.1), (101, 0.9), (102, 0.2), (110, 0.0)] {
            let kernel = Kernel {
                queue_fill: Some(fill),
                ..Kernel::default()
            };
            history.feed(WallTime::from_unix_secs(at), Traffic::default(), Some(kernel));
        }
        assert_eq!(history.last().unwrap().kernel.as_ref().unwrap().queue_fill, Some(0.9));
    }

    #[test]
    fn what_is_not_known_is_null_in_the_report() {
        let mut history = History::default();
        for at in [100, 110] {
            history.feed(WallTime::from_unix_secs(at), Traffic::default(), None);
        }
        let report = String::from_utf8(history.report()).unwrap();
        let point = r#"{"at":100,"requests":0,"connections":0,"hit_ratio":null,"latency_p50_seconds":null,"latency_p99_seconds":null,"responses":{},"lost":null}"#;
        assert!(report.ends_with(&format!("\"points\":[{point}]}}\n")), "{report}");
    }
}
