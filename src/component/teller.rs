//! What a thread that speaks to contacts tells the one that knows them all: in order, and nothing is lost while that is busy.

use std::collections::VecDeque;

use super::event::{Bus, ControlError, Event, Told};
use crate::bus::{PublishError, Reply};
use crate::types::Via;

pub(in crate::component) struct Teller {
    bus: Bus,
    via: Via,
    /// What the reader had no room for.
    unsaid: VecDeque<Told>,
}

impl Teller {
    pub(in crate::component) fn new(bus: Bus, via: Via) -> Self {
        Self { bus, via, unsaid: VecDeque::new() }
    }

    pub(in crate::component) const fn via(&self) -> Via {
        self.via
    }

    pub(in crate::component) fn tell(&mut self, told: Told) {
        self.unsaid.push_back(told);
        self.flush();
    }

    /// Passes on the outcome of a command. Whoever asked hears it when all that was told before can be read.
    pub(in crate::component) fn answer(
        &mut self,
        reply: Reply<Result<(), ControlError>>,
        outcome: Result<(), ControlError>,
    ) {
        self.tell(Told::Answer { reply, outcome });
    }

    /// Tells what could not be told yet. False while the reader has no room: until then there should be no more to tell.
    pub(in crate::component) fn flush(&mut self) -> bool {
        while let Some(told) = self.unsaid.pop_front() {
            match self.bus.publish(Event::Told { via: self.via, told }) {
                Ok(()) => {}
                Err(PublishError::Full { event: Event::Told { told, .. }, .. }) => {
                    self.unsaid.push_front(told);
                    return false;
                }
                // Nobody keeps a snapshot: while the program ends, or in a test.
                Err(error) => {
                    if let Event::Told { told: Told::Answer { reply, outcome }, .. } = error.into_event() {
                        reply.send(outcome);
                    }
                }
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::event::Topic;

    fn remains(told: &Event) -> String {
        match told {
            Event::Told { told: Told::Remains(lines), .. } => lines.concat(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_finds_no_room_is_told_later_in_order() {
        let bus = Bus::new();
        let reader = bus.subscribe("test", &[Topic::People], 2);
        let mut teller = Teller::new(bus, Via::FIRST);
        ["a", "b", "c", "d"].iter().for_each(|line| teller.tell(Told::Remains(vec![(*line).to_owned()])));
        assert!(!teller.flush(), "two wait");
        let mut heard = Vec::new();
        while let Some(event) = reader.try_recv() {
            heard.push(remains(&event));
            teller.flush();
        }
        assert!(teller.flush());
        assert_eq!(heard, ["a", "b", "c", "d"]);
    }

    #[test]
    fn without_a_reader_answers_still_arrive() {
        let mut teller = Teller::new(Bus::new(), Via::FIRST);
        let (reply, answer) = Reply::channel();
        teller.answer(reply, Ok(()));
        assert!(matches!(answer.try_take(), Ok(Some(Ok(())))));
    }
}
