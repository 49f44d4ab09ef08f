//! The end of a tensor whose bytes come in slices.

use super::contents::Entry;

/// What has come of a tensor's last row, if that has numbers beyond the last.
#[derive(Debug, Default)]
pub(crate) struct LastRow(Vec<u8>);

impl LastRow {
    /// Takes the next bytes of `entry`, which begin at its byte `start`. Gives those before that row, and the row
    /// once all of it has come: with zeros beyond the last number, whatever came there.
    pub fn take<'b>(
        &mut self,
        entry: &Entry,
        start: usize,
        bytes: &'b [u8],
    ) -> (&'b [u8], Option<Vec<u8>>) {
        let Some(first) = entry.padded_row() else {
            return (bytes, None);
        };
        let before = first.saturating_sub(start).min(bytes.len());
        let (before, of_row) = bytes.split_at(before);
        self.0.extend_from_slice(of_row);
        let is_whole = start + bytes.len() == entry.bytes();
        let row = is_whole.then(|| {
            let mut row = std::mem::take(&mut self.0);
            entry.clear_padding(&mut row);
            row
        });
        (before, row)
    }
}
