use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use http::request::Parts;
use http::{Extensions, Request};
use tower::{Layer, ServiceExt, service_fn};

use Does::{Know, Refuse, Wait};

use super::*;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Does {
    Know,
    Refuse,
    Wait,
}

type Told = Arc<Mutex<Vec<String>>>;

/// Tells when it is asked, when its answer is polled, and when that is dropped.
struct Scripted {
    room: &'static str,
    turn: Turn,
    does: Does,
    waits: bool,
    told: Told,
}

struct Under {
    room: &'static str,
    polls: u8,
    told: Told,
}

#[derive(Clone)]
struct Found;

fn tell(told: &Told, what: &str, room: &str) {
    told.lock().unwrap().push(format!("{what} {room}"));
}

impl Ask for Scripted {
    fn room(&self) -> &'static str {
        self.room
    }

    fn turn(&self) -> Turn {
        self.turn
    }

    fn waits(&self) -> bool {
        self.waits
    }

    fn ask(&self, _: &mut Parts) -> Asked {
        tell(&self.told, "asks", self.room);
        match self.does {
            Know => Asked::Known,
            Refuse => Asked::Refused,
            Wait => Asked::Waits(Box::new(Under {
                room: self.room,
                polls: if self.turn == Turn::Charge { 2 } else { 1 },
                told: Arc::clone(&self.told),
            })),
        }
    }
}

impl Answer for Under {
    fn poll(&mut self, cx: &mut Context<'_>, extensions: &mut Extensions, _: bool) -> Poll<()> {
        tell(&self.told, "polls", self.room);
        self.polls -= 1;
        if self.polls > 0 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        extensions.insert(Found);
        Poll::Ready(())
    }
}

/// The limits, the segments and the bans, given in this order, which is not theirs.
fn layer(told: &Told, does: [Does; 3], waits: [bool; 3]) -> PreflightLayer {
    let rooms = [
        ("limits", Turn::Charge),
        ("segments", Turn::Classify),
        ("bans", Turn::Screen),
    ];
    let mut builder = PreflightLayer::builder();
    for (index, (room, turn)) in rooms.into_iter().enumerate() {
        builder = builder.ask(Scripted {
            room,
            turn,
            does: does[index],
            waits: waits[index],
            told: Arc::clone(told),
        });
    }
    builder.build().unwrap()
}

/// What is told of a request, and whether its handler saw an answer.
async fn send(does: [Does; 3], waits: [bool; 3]) -> (Vec<String>, bool) {
    let told = Told::default();
    let service = layer(&told, does, waits).layer(service_fn(async |request: Request<()>| {
        Ok::<_, Infallible>(request.extensions().get::<Found>().is_some())
    }));
    let found = service.oneshot(Request::new(())).await.unwrap();
    let told = told.lock().unwrap().clone();
    (told, found)
}

#[tokio::test]
async fn layers_are_asked_in_their_turns_and_all_answers_are_awaited_at_once() {
    let (told, found) = send([Wait, Wait, Know], [true; 3]).await;
    assert_eq!(
        told,
        [
            "asks bans",
            "asks segments",
            "asks limits",
            "polls segments",
            "polls limits",
            "polls limits",
        ]
    );
    assert!(found);
}

#[tokio::test]
async fn a_layer_that_refuses_ends_the_asking_and_no_question_leaves() {
    let (told, found) = send([Wait, Wait, Refuse], [true; 3]).await;
    assert_eq!((told, found), (vec!["asks bans".to_owned()], false));
    let (told, found) = send([Refuse, Wait, Know], [true; 3]).await;
    assert_eq!(told, ["asks bans", "asks segments", "asks limits"]);
    assert!(!found);
}

#[tokio::test]
async fn one_layer_that_waits_asks_by_itself() {
    let (told, _) = send([Wait; 3], [true, false, false]).await;
    assert!(told.is_empty(), "{told:?}");
    let (told, _) = send([Wait; 3], [true, true, false]).await;
    assert!(!told.is_empty());
}

#[test]
fn two_layers_of_one_room_are_refused() {
    let scripted = || Scripted {
        room: "limits",
        turn: Turn::Charge,
        does: Know,
        waits: true,
        told: Told::default(),
    };
    let built = PreflightLayer::builder()
        .ask(scripted())
        .ask(scripted())
        .build();
    assert_eq!(
        built.unwrap_err().to_string(),
        "`preflight` cannot be `limits`: allowed is one layer of each room"
    );
}
