//! Where messages travel: one direction between two ends.

use crate::{
    id::{LaneId, content_id},
    network::NetworkName,
};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A protocol that Postrider speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// LayerZero V2.
    LayerZero,
    /// IBC classic (ICS-03, ICS-04): packets over channels.
    Ibc,
}

impl Protocol {
    /// The protocol's name in files, tables and commands.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LayerZero => "layerzero",
            Self::Ibc => "ibc",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The longest text that names an end of a lane, in bytes.
pub const MAX_POINT_BYTES: usize = 256;

/// A text longer than this names no lane: longer than any lane is shown.
const MAX_NAME_BYTES: usize = 1024;

/// An end's name was empty or longer than [`MAX_POINT_BYTES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the name of a lane's end has {0} bytes; 1 to {MAX_POINT_BYTES} are allowed")]
pub struct BadPoint(pub usize);

/// An end of a lane in its protocol's own canonical text: `30101/0x…` (endpoint id and
/// application) for LayerZero, `transfer/channel-0` for IBC.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Point(String);

impl Point {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Point {
    type Error = BadPoint;
    fn try_from(text: String) -> Result<Self, BadPoint> {
        if (1..=MAX_POINT_BYTES).contains(&text.len()) {
            Ok(Self(text))
        } else {
            Err(BadPoint(text.len()))
        }
    }
}

impl From<Point> for String {
    fn from(point: Point) -> Self {
        point.0
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// One end of a lane.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LaneEnd {
    /// The network.
    pub network: NetworkName,
    /// The place on it.
    pub point: Point,
}

impl fmt::Display for LaneEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.network, self.point)
    }
}

/// One direction that messages travel.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Lane {
    /// The protocol spoken on it.
    pub protocol: Protocol,
    /// Where messages are sent.
    pub source: LaneEnd,
    /// Where they are brought.
    pub destination: LaneEnd,
}

impl Lane {
    /// The lane's id.
    #[must_use]
    pub fn id(&self) -> LaneId {
        LaneId(content_id(
            "postrider/lane",
            &[
                self.protocol.as_str().as_bytes(),
                self.source.network.as_str().as_bytes(),
                self.source.point.as_str().as_bytes(),
                self.destination.network.as_str().as_bytes(),
                self.destination.point.as_str().as_bytes(),
            ],
        ))
    }
}

impl Lane {
    /// Whether a person may mean this lane by `text`: the first digits of its id with `0x` before
    /// them, its two networks as `ethereum->arbitrum`, or any part of how it is shown. Spaces and
    /// capitals do not matter. Nothing means no lane.
    #[must_use]
    pub fn answers_to(&self, text: &str) -> bool {
        if text.len() > MAX_NAME_BYTES {
            return false;
        }
        let text = plain(text);
        let (id, networks) = (self.id().to_string(), self.networks());
        !text.is_empty()
            && (id.starts_with(&text)
                || plain(&networks).contains(&text)
                || plain(&self.to_string()).contains(&text))
    }

    /// Whether `text` is the whole of the lane's id, or of how it is shown.
    #[must_use]
    pub fn is_called(&self, text: &str) -> bool {
        let text = if text.len() > MAX_NAME_BYTES { String::new() } else { plain(text) };
        text == self.id().to_string() || text == plain(&self.to_string())
    }

    fn networks(&self) -> String {
        format!("{}->{}", self.source.network, self.destination.network)
    }
}

fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).flat_map(char::to_lowercase).collect()
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} -> {}", self.protocol, self.source, self.destination)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(network: &str, point: &str) -> LaneEnd {
        LaneEnd {
            network: network.parse().unwrap(),
            point: Point::try_from(point.to_owned()).unwrap(),
        }
    }

    #[test]
    fn the_two_directions_are_two_lanes() {
        let there = Lane {
            protocol: Protocol::LayerZero,
            source: end("a", "1/0x1"),
            destination: end("b", "2/0x2"),
        };
        let back =
            Lane { source: there.destination.clone(), destination: there.source.clone(), ..there };
        assert_ne!(there.id(), back.id());
        assert_eq!(there.to_string(), "layerzero: a 1/0x1 -> b 2/0x2");
    }

    #[test]
    fn a_lane_is_meant_by_any_part_of_its_name() {
        let lane = Lane {
            protocol: Protocol::LayerZero,
            source: end("ethereum", "1/0xAb"),
            destination: end("base", "2/0x2"),
        };
        let shown = lane.to_string();
        let id = lane.id().to_string();
        for text in [&shown, &id, &id[..8], "Ethereum -> base", "ethereum->bas", "1/0xab", "0XAB"] {
            assert!(lane.answers_to(text), "{text}");
        }
        for text in ["", "  ", "base->ethereum", "0xff_no", "ethereum->base->x"] {
            assert!(!lane.answers_to(text), "{text}");
        }
        assert!(lane.is_called(&shown) && lane.is_called(&id) && !lane.is_called("ethereum->base"));
    }

    #[test]
    fn a_point_has_bounds() {
        assert_eq!(Point::try_from(String::new()), Err(BadPoint(0)));
        assert_eq!(Point::try_from("x".repeat(257)), Err(BadPoint(257)));
    }
}
