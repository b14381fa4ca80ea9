//! Somebody who works at a node: new notes, edits, whole patients, one after another.

use super::Outcome;
use super::promises::{Promises, Word, note};
use super::site::{Site, ask};
use crate::chance::Chance;
use carnet_node::sample::{Generator, Size};
use carnet_node::service::request::Request;
use serde_json::json;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

/// The day on which the invented patients were last seen: 2026-03-01.
const SAMPLE_DAY_MS: u64 = 1_772_323_200_000;

/// One caller of a node: what it was promised, and what it does next.
pub struct Caller {
    dir: PathBuf,
    folder: PathBuf,
    name: String,
    chance: Chance,
    generator: Generator,
    number: u64,
    /// Tells each word to somebody else too, who outlives this machine.
    pub aloud: Option<fn(&Word)>,
    /// What was acknowledged to it.
    pub promises: Promises,
}

impl Caller {
    /// A caller whose notes are named after it.
    pub fn new(site: &Site, name: String, mut chance: Chance) -> Self {
        let generator = Generator::new(chance.next(), SAMPLE_DAY_MS);
        let (dir, folder) = (site.dir(), site.beside("files"));
        let promises = Promises::default();
        Self { dir, folder, name, chance, generator, number: 0, aloud: None, promises }
    }

    fn say(&mut self, word: Word) {
        if let Some(aloud) = self.aloud {
            aloud(&word);
        }
        self.promises.hear(word);
    }

    /// Works until told to stop, or nobody answers.
    pub async fn work(&mut self, stop: &AtomicBool) -> Outcome<()> {
        fs::create_dir_all(&self.folder)?;
        while !stop.load(Ordering::Relaxed) {
            let went =
                if self.chance.one_in(12) { self.import().await? } else { self.write().await };
            if !went {
                break;
            }
        }
        Ok(())
    }

    async fn import(&mut self) -> Outcome<bool> {
        let bundle = self.generator.patient(Size::Standard);
        let file = self.folder.join(format!("{}.json", self.name));
        fs::write(&file, bundle.to_string())?;
        match ask(&self.dir, Request::Import { files: vec![file] }).await {
            Ok((told, _)) if told["failed"] == 0 && told["skipped"] == 0 => {
                self.say(Word::bundle(&bundle));
                Ok(true)
            }
            Ok((told, _)) => Err(format!("an invented patient was refused: {told}").into()),
            Err(_) => Ok(false),
        }
    }

    /// Writes a note, or edits one; whether that was acknowledged.
    pub async fn write(&mut self) -> bool {
        self.number += 1;
        let known = self.promises.ids();
        let Some(id) = self.chance.pick(&known).filter(|_| self.number.is_multiple_of(2)).cloned()
        else {
            return self.write_new().await;
        };
        let text = format!("{id} as of {}", self.number);
        let set = vec![("code".to_owned(), json!({"text": text}))];
        let edit = Request::ChartEdit { resource: format!("Basic/{id}"), set, delete: false };
        self.send(&id, &text, edit).await
    }

    /// Writes a new note.
    pub async fn write_new(&mut self) -> bool {
        self.number += 1;
        let id = format!("{}-{}", self.name, self.number);
        let text = format!("{id} as of {}", self.number);
        self.send(&id, &text, Request::ChartPut { body: note(&id, &text) }).await
    }

    async fn send(&mut self, id: &str, text: &str, request: Request) -> bool {
        self.say(Word::Sent { id: id.to_owned(), text: text.to_owned() });
        let done = ask(&self.dir, request).await.is_ok();
        if done {
            self.say(Word::Kept { id: id.to_owned(), text: text.to_owned() });
        }
        done
    }
}
