//! A terminal that covers names which an operator with groups may not read.

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::domain::ask::access::Operator;
use crate::domain::ask::command::Command;
use crate::domain::base::name::RunId;
use crate::domain::base::refusal::Refusal;
use crate::domain::base::request::RequestKey;
use crate::domain::plan::veil::Veil;
use crate::door::keys::KeyPress;
use crate::door::sessions::DoorCommand;
use crate::door::{BytesPart, Desk, Gone, Terminal};
use crate::local::artifacts::Piece;
use crate::port::talk::Feed;
use crate::present::board::block::Screen;
use crate::present::board::page::Page;

/// See the module. Operators who may see everything get the terminal unchanged.
pub(super) struct Veiled<'a> {
    inner: &'a mut dyn Terminal,
    veil: Option<Veil>,
}

impl<'a> Veiled<'a> {
    pub(super) async fn new(
        desk: &Desk,
        (operator, command): (&Operator, &Command),
        inner: &'a mut dyn Terminal,
    ) -> Veiled<'a> {
        let Some(groups) = operator.all_groups() else { return Veiled { inner, veil: None } };
        let _turn = desk.turns.work.take(&operator.name).await;
        let (config, typed) = (desk.config.borrow().clone(), format!("{command:?}"));
        let make =
            move || Veil::new(&config.inventory, &config.inventory.visible_to(Some(&groups))).without(&typed);
        match tokio::task::spawn_blocking(make).await {
            Ok(veil) => Veiled { inner, veil: Some(veil) },
            // Without a veil no answer is sent.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    pub(super) fn terminal(&mut self) -> &mut dyn Terminal {
        match self.veil {
            Some(_) => self,
            None => self.inner,
        }
    }

    pub(super) fn over(&self, text: &str) -> String {
        self.veil.as_ref().map_or_else(|| text.to_string(), |veil| veil.over(text).into_owned())
    }
}

#[async_trait]
impl Terminal for Veiled<'_> {
    async fn out(&mut self, text: &str) -> Result<(), Gone> {
        let text = self.over(text);
        self.inner.out(&text).await
    }

    async fn printed(&mut self, text: &str, is_error: bool) -> Result<(), Gone> {
        let text = self.over(text);
        self.inner.printed(&text, is_error).await
    }

    async fn err(&mut self, text: &str) -> Result<(), Gone> {
        let text = self.over(text);
        self.inner.err(&text).await
    }

    async fn full_screen(&mut self, is_on: bool) -> Result<(), Gone> {
        self.inner.full_screen(is_on).await
    }

    fn admitted(&self) -> Result<Operator, String> {
        self.inner.admitted()
    }

    async fn paint(&mut self, frame: String) -> Result<(), Gone> {
        self.inner.paint(frame).await
    }

    fn covered(&self, text: &str) -> String {
        self.over(text)
    }

    fn may_name(&mut self, typed: &str) {
        self.veil = self.veil.take().map(|veil| veil.without(typed));
    }

    /// Files of hosts that the operator may see.
    async fn bytes(&mut self, bytes: Bytes) -> Result<(), Gone> {
        self.inner.bytes(bytes).await
    }

    fn is_interactive(&self) -> bool {
        self.inner.is_interactive()
    }

    fn screen(&self) -> Option<Screen> {
        self.inner.screen()
    }

    async fn draw(&mut self, lines: Vec<String>) -> Result<(), Gone> {
        let lines = lines.iter().map(|line| self.over(line)).collect();
        self.inner.draw(lines).await
    }

    fn left_status(&self) -> u8 {
        self.inner.left_status()
    }

    fn gone(&self) -> CancellationToken {
        self.inner.gone()
    }

    fn input(&mut self) -> Option<Feed> {
        self.inner.input()
    }

    fn file(&mut self) -> Option<mpsc::Receiver<Piece>> {
        self.inner.file()
    }

    fn brings_file(&self) -> bool {
        self.inner.brings_file()
    }

    fn silence(&self) -> BoxFuture<'static, ()> {
        self.inner.silence()
    }

    fn list(&mut self, command: DoorCommand) {
        self.inner.list(command);
    }

    fn listed(&self) -> Option<&DoorCommand> {
        self.inner.listed()
    }

    fn refuse(&mut self, refusal: &Refusal) {
        let hint = refusal.hint.as_ref().map(|hint| self.over(hint));
        self.inner.refuse(&Refusal { cause: refusal.cause, why: self.over(&refusal.why), hint });
    }

    fn part(&mut self, part: BytesPart) {
        self.inner.part(part);
    }

    fn page(&mut self, page: Page) -> Option<Page> {
        self.inner.page(page)
    }

    fn more(&mut self, option: &'static str, number: u64) {
        self.inner.more(option, number);
    }

    fn planned(&mut self, digest: &str) {
        self.inner.planned(digest);
    }

    fn request(&self) -> Option<RequestKey> {
        self.inner.request()
    }

    fn started(&mut self, run: RunId) {
        self.inner.started(run);
    }

    fn keys(&mut self) -> Option<mpsc::Receiver<KeyPress>> {
        self.inner.keys()
    }
}

#[cfg(test)]
mod tests {
    /// A method with a default that is not passed on would be lost for operators of some groups.
    #[test]
    fn each_method_of_a_terminal_is_passed_on() {
        let part = |text: &'static str, head: &str| {
            let from = text.split_once(head).map_or("", |(_, rest)| rest);
            from.split_once("\n}\n").map_or("", |(part, _)| part)
        };
        let wanted = part(include_str!("../mod.rs"), "pub trait Terminal");
        let given = part(include_str!("veiled.rs"), "impl Terminal for Veiled");
        let names: Vec<&str> =
            wanted.split("fn ").skip(1).filter_map(|rest| rest.split('(').next()).collect();
        assert!(names.len() > 20, "{names:?}");
        for name in names {
            assert!(given.contains(&format!("fn {name}(")), "{name}");
        }
    }
}
