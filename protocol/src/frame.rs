//! Binary messages: bytes and counters, without serde.
//!
//! Client leg: `kind: u8` · `offset: u64 BE` · bytes. Link leg: `channel: u32 BE` and then exactly
//! the client's frame, so that a gateway relays by cutting off or putting on four bytes.

use bytes::{Buf, BufMut, Bytes};

use crate::id::ChannelNumber;
use crate::limits::{INPUT_FRAME_MAX, OUTPUT_FRAME_MAX};
use crate::offset::Offset;

/// Bytes before a client frame's payload.
pub const HEADER_LEN: usize = 9;

/// Bytes before a link frame's payload.
pub const LINK_HEADER_LEN: usize = HEADER_LEN + 4;

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Bytes of output, or of input.
    Data = 0,
    /// Output that some driver had acknowledged before: a terminal that is fed with it must not
    /// answer its queries again.
    Replay = 1,
    /// A piece of a keyframe. All pieces of one keyframe have the same offset.
    Keyframe = 2,
    /// A client has taken all output before the offset. No bytes.
    Ack = 3,
    /// The program's terminal took all input before the offset. No bytes.
    Applied = 4,
}

impl Kind {
    /// The kind with this number.
    #[must_use]
    pub const fn from_u8(kind: u8) -> Option<Self> {
        Some(match kind {
            0 => Self::Data,
            1 => Self::Replay,
            2 => Self::Keyframe,
            3 => Self::Ack,
            4 => Self::Applied,
            _ => return None,
        })
    }
}

/// Why a binary message is not a frame. All of them are the sender's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadFrame {
    /// Shorter than its header.
    #[error("a frame of {0} bytes is shorter than its header")]
    Short(usize),
    /// A kind that does not exist.
    #[error("no frame has kind {0}")]
    Kind(u8),
    /// A kind that this side never sends.
    #[error("this side does not send {0:?} frames")]
    Direction(Kind),
    /// An offset, or the end of the frame's bytes, at 2^53 or beyond.
    #[error("a frame's bytes lie below offset 2^53")]
    Offset,
    /// More bytes than a frame of this kind may have, or none where there must be some.
    #[error("a {kind:?} frame has {len} bytes")]
    Length {
        /// The frame's kind.
        kind: Kind,
        /// Bytes after its header.
        len: usize,
    },
}

/// One binary message of the client leg.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What it carries.
    pub kind: Kind,
    /// Where its first byte lies; for counters, the counter.
    pub offset: Offset,
    /// Its bytes; empty for counters.
    pub payload: Bytes,
}

impl Frame {
    /// Parses a frame without copying its payload. Says nothing about who may send it: see
    /// [`Frame::from_client`] and [`Frame::to_client`].
    ///
    /// # Errors
    /// [`BadFrame`] where the message is no frame at all.
    pub fn parse(mut message: Bytes) -> Result<Self, BadFrame> {
        if message.len() < HEADER_LEN {
            return Err(BadFrame::Short(message.len()));
        }
        let kind = message.get_u8();
        let kind = Kind::from_u8(kind).ok_or(BadFrame::Kind(kind))?;
        let offset = Offset::new(message.get_u64()).ok_or(BadFrame::Offset)?;
        if offset.get() + message.len() as u64 > Offset::MAX.get() {
            return Err(BadFrame::Offset);
        }
        Ok(Self { kind, offset, payload: message })
    }

    /// Parses a frame that a client sent: input, or an acknowledgement.
    ///
    /// # Errors
    /// [`BadFrame`] where a client may not send this.
    pub fn from_client(message: Bytes) -> Result<Self, BadFrame> {
        let frame = Self::parse(message)?;
        let len = frame.payload.len();
        match frame.kind {
            Kind::Data if (1..=INPUT_FRAME_MAX).contains(&len) => Ok(frame),
            Kind::Ack if len == 0 => Ok(frame),
            Kind::Data | Kind::Ack => Err(BadFrame::Length { kind: frame.kind, len }),
            Kind::Replay | Kind::Keyframe | Kind::Applied => Err(BadFrame::Direction(frame.kind)),
        }
    }

    /// Parses a frame on its way to a client: output, a keyframe's piece, or `applied`.
    ///
    /// # Errors
    /// [`BadFrame`] where a bridge may not send this.
    pub fn to_client(message: Bytes) -> Result<Self, BadFrame> {
        let frame = Self::parse(message)?;
        let len = frame.payload.len();
        match frame.kind {
            Kind::Data | Kind::Replay | Kind::Keyframe if (1..=OUTPUT_FRAME_MAX).contains(&len) => {
                Ok(frame)
            }
            Kind::Applied if len == 0 => Ok(frame),
            Kind::Data | Kind::Replay | Kind::Keyframe | Kind::Applied => {
                Err(BadFrame::Length { kind: frame.kind, len })
            }
            Kind::Ack => Err(BadFrame::Direction(frame.kind)),
        }
    }

    /// The offset after its last byte.
    #[must_use]
    pub fn end(&self) -> Offset {
        self.offset.plus(self.payload.len() as u64)
    }

    /// Appends the frame as the client leg carries it.
    pub fn put(&self, into: &mut impl BufMut) {
        put_header(into, self.kind, self.offset);
        into.put_slice(&self.payload);
    }

    /// The frame as one message of the client leg.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let mut message = Vec::with_capacity(HEADER_LEN + self.payload.len());
        self.put(&mut message);
        message.into()
    }
}

/// Appends a client frame's header.
pub fn put_header(into: &mut impl BufMut, kind: Kind, offset: Offset) {
    into.put_u8(kind as u8);
    into.put_u64(offset.get());
}

/// Appends a link frame's header.
pub fn put_link_header(into: &mut impl BufMut, channel: ChannelNumber, kind: Kind, offset: Offset) {
    into.put_u32(channel.0);
    put_header(into, kind, offset);
}

/// One binary message of the link leg: a channel's number and the client's frame as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkFrame {
    /// The channel that it belongs to.
    pub channel: ChannelNumber,
    /// The client frame, not yet parsed.
    pub inner: Bytes,
}

impl LinkFrame {
    /// Cuts off the channel number without copying the rest.
    ///
    /// # Errors
    /// [`BadFrame::Short`] where the message has no room for both headers.
    pub fn parse(mut message: Bytes) -> Result<Self, BadFrame> {
        if message.len() < LINK_HEADER_LEN {
            return Err(BadFrame::Short(message.len()));
        }
        Ok(Self { channel: ChannelNumber(message.get_u32()), inner: message })
    }

    /// Puts a channel number before a client's frame.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let mut message = Vec::with_capacity(4 + self.inner.len());
        message.put_u32(self.channel.0);
        message.put_slice(&self.inner);
        message.into()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kinds() -> impl Strategy<Value = Kind> {
        (0u8..5).prop_map(|kind| Kind::from_u8(kind).unwrap())
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            kind in kinds(), at in 0u64..(1 << 52), payload in proptest::collection::vec(any::<u8>(), 0..200),
            channel in any::<u32>(),
        ) {
            let frame = Frame { kind, offset: Offset::new(at).unwrap(), payload: payload.into() };
            prop_assert_eq!(&Frame::parse(frame.to_bytes()).unwrap(), &frame);
            let link = LinkFrame { channel: ChannelNumber(channel), inner: frame.to_bytes() };
            prop_assert_eq!(LinkFrame::parse(link.to_bytes()).unwrap(), link);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let bytes = Bytes::from(bytes);
            let _ = Frame::from_client(bytes.clone());
            let _ = Frame::to_client(bytes.clone());
            let _ = LinkFrame::parse(bytes);
        }
    }

    #[test]
    fn each_side_sends_only_its_own_kinds() {
        let frame = |kind, len| {
            Frame { kind, offset: Offset::ZERO, payload: Bytes::from(vec![0; len]) }.to_bytes()
        };
        assert!(Frame::from_client(frame(Kind::Data, INPUT_FRAME_MAX)).is_ok());
        assert!(Frame::from_client(frame(Kind::Data, INPUT_FRAME_MAX + 1)).is_err());
        assert!(Frame::from_client(frame(Kind::Data, 0)).is_err());
        assert!(Frame::from_client(frame(Kind::Ack, 1)).is_err());
        assert!(Frame::from_client(frame(Kind::Keyframe, 1)).is_err());
        assert!(Frame::to_client(frame(Kind::Data, OUTPUT_FRAME_MAX)).is_ok());
        assert!(Frame::to_client(frame(Kind::Ack, 0)).is_err());
        assert!(Frame::to_client(frame(Kind::Applied, 0)).is_ok());
    }
}
