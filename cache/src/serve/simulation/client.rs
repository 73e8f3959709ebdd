//! Clients: each one request on a task of its own. Some read slowly, some leave.

use std::sync::Arc;

use common::backend::Backend;
use common::http::body::Body;
use common::http::forwarded::ForwardedSettings;
use common::http::head::Head;
use common::http::hop_by_hop::Upgrade;
use common::http::outgoing::{Hop, RequestId};
use common::http::request::Notable;
use common::http::via::NodeId;
use common::soon::Soon;
use common::telemetry::access_log::AccessLog;
use common::time::WallTime;
use common::worker::Worker;
use http::{HeaderMap, Method, StatusCode};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::world::{Act, SLICE, Shape, World};
use super::{Dice, judge};
use crate::policy::rules::{KeyRules, RangeRules, Rules};
use crate::serve::Local;
use crate::tier::{TierRequest, TierRoute};

/// All clients of one story.
pub(super) struct Clients {
    world: World,
    local: Arc<Local>,
    route: Arc<TierRoute>,
    worker: Arc<Worker>,
    asking: Vec<(Asked, Arc<Mutex<Seen>>, JoinHandle<()>)>,
}

/// One request.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) number: u64,
    /// When, in the order of things.
    pub(super) at: u64,
    pub(super) method: Method,
    pub(super) path: u64,
    pub(super) variant: &'static str,
    /// One more field.
    pub(super) field: Option<(&'static str, String)>,
}

/// What came of it so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// The head, and when it came.
    pub(super) head: Option<(StatusCode, HeaderMap, WallTime)>,
    pub(super) content: Vec<u8>,
    /// `Ok`: whole; `Err`: failed.
    pub(super) end: Option<Result<(), String>>,
}

impl Clients {
    pub(super) fn new(world: &World, local: &Arc<Local>, origin: &str) -> Self {
        let text = format!(
            "[front]\nlisten = [\"127.0.0.1:0\"]\n[cache]\nmemory = \"1MiB\"\n[origin.o]\nservers = [{origin:?}]\nretries = 0\n\
             [origin.o.ejection]\nfailures = 0\nerror_percent = 0\n[[site]]\ndefault = true\norigin = \"o\"\n"
        );
        let config = config::parse(&text, "simulation")
            .unwrap_or_else(|problems| panic!("{problems}"))
            .config;
        let settings = config.origins[0].clone();
        let addresses = common::backend::resolve(&settings).unwrap();
        let route = TierRoute {
            backend: Arc::new(Backend::new(settings, addresses, 1)),
            limits: config.sites[0].routes[0].limits.clone(),
            is_cached: true,
            rules: rules(world.state().shape),
            upgrades: Vec::new(),
            compression: None,
        };
        Self {
            worker: Worker::new(0, world.clock(), AccessLog::default()),
            world: world.clone(),
            local: Arc::clone(local),
            route: Arc::new(route),
            asking: Vec::new(),
        }
    }

    /// One more client.
    pub(super) fn ask(&mut self, dice: &mut Dice) {
        let path = self.world.path(dice);
        let method = match dice.below(20) {
            0 if path > 0 => Method::POST,
            1 if path > 0 => Method::HEAD,
            _ => Method::GET,
        };
        self.begin(dice, path, method);
    }

    /// Several clients that want the same.
    pub(super) fn burst(&mut self, dice: &mut Dice, method: &Method) {
        let path = self.world.path(dice);
        for _ in 0..2 + dice.below(6) {
            self.begin(dice, path, method.clone());
        }
    }

    fn begin(&mut self, dice: &mut Dice, path: u64, method: Method) {
        let field = match dice.below(10) {
            0 => Some(("cache-control", "max-stale=3".to_owned())),
            1 => Some(("cache-control", "no-cache".to_owned())),
            2 => Some(("cache-control", "only-if-cached".to_owned())),
            3 | 4 if path > 0 => Some(("range", range(dice))),
            5 if path > 0 => Some(("if-none-match", format!("\"{path}--{}\"", 1 + dice.below(3)))),
            _ => None,
        };
        let asked = Asked {
            number: dice.roll(),
            at: self.world.tick(),
            method,
            path,
            variant: dice.pick(&["a", "b"]),
            field,
        };
        self.world.tell(|| {
            format!(
                "{}: asks {} /{} {} {:?}",
                asked.at, asked.method, path, asked.variant, asked.field
            )
        });
        let pause = dice.chance(10).then(|| self.world.hold());
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (local, route, worker) = (
            Arc::clone(&self.local),
            Arc::clone(&self.route),
            Arc::clone(&self.worker),
        );
        let going = exchange(
            self.world.clone(),
            local,
            route,
            worker,
            asked.clone(),
            Arc::clone(&seen),
            pause,
        );
        self.asking.push((asked, seen, tokio::spawn(going)));
    }

    /// One of those that still read leaves.
    pub(super) fn leave(&mut self, dice: &mut Dice) {
        if !self.asking.is_empty() {
            let length = u64::try_from(self.asking.len()).unwrap();
            let (asked, _, task) = &self.asking[usize::try_from(dice.below(length)).unwrap()];
            self.world.tell(|| format!("the one of {} leaves", asked.at));
            task.abort();
        }
    }

    /// Judges what has come of those that are done, and forgets them.
    pub(super) fn judge(&mut self) {
        let (done, asking) = std::mem::take(&mut self.asking)
            .into_iter()
            .partition(|(_, _, task)| task.is_finished());
        self.asking = asking;
        for (asked, seen, _) in done {
            let seen = seen.lock().clone();
            self.world.tell(|| {
                let head = seen
                    .head
                    .as_ref()
                    .map(|(status, fields, _)| (status, fields.get("cache-status"), fields.get("x-fetch")));
                format!(
                    "  {} got {head:?} {} bytes, {:?}",
                    asked.at,
                    seen.content.len(),
                    seen.end
                )
            });
            judge::answer(&self.world, &asked, &seen);
        }
        judge::fetches(&self.world);
    }

    /// Clients that have not got all they wait for.
    pub(super) fn waiting(&self) -> usize {
        self.asking.len()
    }
}

/// The rules of the route.
pub(super) fn rules(shape: Shape) -> Rules {
    let rules = Rules::default();
    Rules {
        ranges: RangeRules {
            store_partial: shape == Shape::Parts,
            ..rules.ranges
        },
        key: KeyRules {
            slice: if shape == Shape::Slices { SLICE } else { 0 },
            ..rules.key
        },
        ..rules
    }
}

/// Near the beginning, anywhere, or at the end.
fn range(dice: &mut Dice) -> String {
    match dice.below(4) {
        0 => format!("bytes={}-{}", dice.below(30), 30 + dice.below(30)),
        1 => format!("bytes=0-{}", dice.below(4_000)),
        2 => format!("bytes={}-", dice.below(4_000)),
        _ => format!("bytes=-{}", 1 + dice.below(4_000)),
    }
}

async fn exchange(
    world: World,
    local: Arc<Local>,
    route: Arc<TierRoute>,
    worker: Arc<Worker>,
    asked: Asked,
    seen: Arc<Mutex<Seen>>,
    pause: Option<Arc<Notify>>,
) {
    let mut request = http::Request::builder()
        .method(&asked.method)
        .uri(format!("/{}", asked.path))
        .header("host", "sim.test")
        .header("x-variant", asked.variant);
    if let Some((name, value)) = &asked.field {
        request = request.header(*name, value);
    }
    let head = Box::<Head>::new(request.body(()).unwrap().into_parts().0.into());
    let node = NodeId::new("simulation").unwrap();
    let forwarded = ForwardedSettings {
        x_forwarded: false,
        forwarded: false,
        trusted: Vec::new(),
    };
    let call = local.call(TierRequest {
        notable: Notable::of(&head.headers),
        head,
        body: Body::Empty,
        route: &route,
        hop: Hop {
            node: &node,
            forwarded: &forwarded,
            peer: None,
            reached: None,
            tls: false,
            request_id: RequestId::Made(asked.number),
            upgrade: Upgrade::Remove,
            desk: None,
        },
        now: worker.clock.mono(),
        worker: &worker,
    });
    let answer = match call {
        Soon::Ready(answer) => answer,
        Soon::Coming(coming) => coming.await,
    };
    let response = match answer.result {
        Ok(response) => response,
        Err(error) => {
            seen.lock().end = Some(Err(format!("{error:?}")));
            return;
        }
    };
    seen.lock().head = Some((response.status, response.fields.into_map(), worker.clock.wall()));
    if asked.method == Method::POST && response.status.is_success() {
        world.act(Act::Invalidate(asked.path));
    }
    if let Some(pause) = pause {
        pause.notified().await;
    }
    let mut body = response.body;
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => seen.lock().content.extend(frame.into_data().unwrap_or_default()),
            Err(error) => {
                seen.lock().end = Some(Err(error.to_string()));
                return;
            }
        }
    }
    seen.lock().end = Some(Ok(()));
}
