//! `status`: problems first, then a line for each peer.

use crate::context::{Context, Failure, Outcome, Style, typed};
use crate::session;
use crate::words::Word;
use carnet_node::service::error::ExitCode;
use carnet_node::service::reply::{Peer, Problem, Status};
use carnet_node::service::request::Request;

/// Shows the state; the exit code is 1 when something is wrong.
pub async fn execute(context: &Context) -> Outcome {
    let status: Status = typed(session::ask(context, Request::Status).await?)?;
    let code = if status.ok { ExitCode::Fine } else { ExitCode::Failure };
    if context.answered(&status)? {
        return Ok(code);
    }
    for problem in &status.problems {
        tell(context, problem)?;
    }
    if status.problems.is_empty() {
        context.line(context.paint(Style::Green, context.words.text(Word::StatusFine)))?;
    }
    context.line("")?;
    let practice = match status.practice.as_str() {
        "" => context.words.text(Word::PracticeUnknown),
        name => name,
    };
    let entries = status.entries.to_string();
    let gaps = [("practice", practice), ("site", &status.site), ("entries", &entries)];
    context.say(Word::StatusHead, &gaps)?;
    if !status.running {
        context.line(context.paint(Style::Dim, context.words.text(Word::StatusNotRunning)))?;
    }
    for address in &status.listening {
        context.say(Word::StatusListening, &[("address", address)])?;
    }
    for peer in &status.peers {
        peer_line(context, peer)?;
    }
    if status.peers.is_empty() {
        context.say(Word::NoPeers, &[])?;
    }
    Ok(code)
}

fn tell(context: &Context, problem: &Problem) -> Result<(), Failure> {
    let style = if problem.serious { Style::Red } else { Style::Yellow };
    let count = problem.count.map(|count| count.to_string()).unwrap_or_default();
    let time = clock(&problem.time, context.environment.unix_ms());
    let text = match Word::of_problem(&problem.code) {
        Some(word) => context.words.fill(word, &[("count", &count), ("time", &time)]),
        // A node of another version may know of troubles that this program has no words for.
        None => format!("{} {count} {time}", problem.code),
    };
    context.line(context.paint(style, &format!("! {text}")))
}

/// "Sédhiou: holds everything up to 14:02; 3 entries exist on this node only".
pub fn peer_line(context: &Context, peer: &Peer) -> Result<(), Failure> {
    let words = context.words;
    let site = match (peer.site.as_str(), peer.addresses.first()) {
        ("", Some(address)) => address.as_str(),
        ("", None) => words.text(Word::PeerUnknown),
        (site, _) => site,
    };
    let mut parts = Vec::new();
    let time = peer.last_sync.as_deref().map(|time| clock(time, context.environment.unix_ms()));
    match &time {
        None => parts.push(words.text(Word::PeerNeverMet).to_owned()),
        Some(time) if peer.to_send == 0 => {
            parts.push(words.fill(Word::PeerHoldsEverything, &[("time", time)]));
        }
        Some(time) => parts.push(words.fill(Word::PeerHoldsUpTo, &[("time", time)])),
    }
    for (count, word) in [(peer.to_send, Word::PeerLacks), (peer.to_receive, Word::PeerHas)] {
        if count > 0 {
            parts.push(words.fill(word, &[("count", &count.to_string())]));
        }
    }
    let link = if let "revoked" | "suspended" = peer.state.as_str() {
        let out = peer.state == "revoked";
        let word = if out { Word::StateRevoked } else { Word::StateSuspended };
        context.paint(Style::Yellow, words.text(word))
    } else if peer.connected {
        context.paint(Style::Green, words.text(Word::PeerConnected))
    } else {
        // Away is everyday life here, not an alarm.
        context.paint(Style::Dim, words.text(Word::PeerAway))
    };
    context.line(format!("{} ({link}): {}", context.paint(Style::Bold, site), parts.join("; ")))
}

/// An RFC 3339 time in the local zone: the hour alone when it is of today.
pub fn clock(time: &str, now_ms: u64) -> String {
    let zone = jiff::tz::TimeZone::system();
    let Ok(stamp) = time.parse::<jiff::Timestamp>() else { return time.to_owned() };
    let then = stamp.to_zoned(zone.clone());
    let now = jiff::Timestamp::from_millisecond(now_ms as i64).unwrap_or(stamp).to_zoned(zone);
    if then.date() == now.date() {
        then.strftime("%H:%M").to_string()
    } else {
        then.strftime("%Y-%m-%d %H:%M").to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_today_is_an_hour_and_another_has_its_date() {
        let time = "2026-11-22T10:02:00Z";
        let at =
            |text: &str| text.parse::<jiff::Timestamp>().expect("a time").as_millisecond() as u64;
        assert_eq!(clock(time, at("2026-11-22T10:05:00Z")).len(), 5);
        assert_eq!(clock(time, at("2026-11-29T10:05:00Z")).len(), 16);
        assert_eq!(clock("nonsense", 0), "nonsense");
    }
}
