//! What one file system has, as it was listed last: how many access points, and which are homes.
//! Knows no other file system.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::access_point::AccessPoints;
use crate::aws::AwsError;
use crate::volumes::VolumeKey;

/// What EFS takes on one file system, unless it has been asked for more.
const MOST: usize = 10_000;
/// The share of it at which operators are warned.
const NEARLY: usize = MOST / 100 * 80;
/// Between two such warnings.
const WARNED: Duration = Duration::from_secs(3600);
/// How long each page of a listing makes the whole of it good for: a larger one is asked for less
/// often, so that none costs more than a call in this time.
const PAGE_IS_WORTH: Duration = Duration::from_secs(10);
/// Pages of a listing. EFS has at most a tenth of them.
const PAGES: u32 = 100;
/// How long it may take.
const LISTED: Duration = Duration::from_secs(60);

/// A file system.
#[derive(Debug)]
pub(super) struct FileSystem {
    id: String,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    newest: Option<Listing>,
    warned: Option<Instant>,
}

#[derive(Debug)]
struct Listing {
    at: Instant,
    pages: u32,
    count: usize,
    homes: HashMap<VolumeKey, String>,
}

impl FileSystem {
    pub(super) fn new(id: String) -> Self {
        Self { id, known: Mutex::default() }
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// How many access points it has, and that of a key below `root`.
    pub(super) async fn look_up(
        &self,
        points: &AccessPoints,
        root: &str,
        key: &VolumeKey,
    ) -> Result<(usize, Option<String>), AwsError> {
        let mut known = self.known.lock().await;
        let listing = self.newest(&mut known, points, root).await?;
        Ok((listing.count, listing.homes.get(key).cloned()))
    }

    /// How many access points it has.
    pub(super) async fn count(&self, points: &AccessPoints, root: &str) -> Result<usize, AwsError> {
        let mut known = self.known.lock().await;
        Ok(self.newest(&mut known, points, root).await?.count)
    }

    /// It has a home that may be newer than its listing.
    pub(super) async fn has(&self, key: &VolumeKey, access_point: String) {
        if let Some(listing) = &mut self.known.lock().await.newest
            && listing.homes.insert(key.clone(), access_point).is_none()
        {
            listing.count += 1;
        }
    }

    /// It has no home of this key any more.
    pub(super) async fn lost(&self, key: &VolumeKey) {
        if let Some(listing) = &mut self.known.lock().await.newest
            && listing.homes.remove(key).is_some()
        {
            listing.count = listing.count.saturating_sub(1);
        }
    }

    async fn newest<'a>(
        &self,
        known: &'a mut Known,
        points: &AccessPoints,
        root: &str,
    ) -> Result<&'a Listing, AwsError> {
        let good = |listing: &Listing| listing.at.elapsed() < PAGE_IS_WORTH * listing.pages;
        let newest = match known.newest.take_if(|listing| good(listing)) {
            Some(newest) => newest,
            None => self.list(points, root).await?,
        };
        if newest.count >= NEARLY && known.warned.is_none_or(|at| at.elapsed() >= WARNED) {
            known.warned = Some(Instant::now());
            let (file_system, count) = (&self.id, newest.count);
            tracing::warn!(file_system, count, "of about {MOST} access points: add a file system");
        }
        Ok(known.newest.insert(newest))
    }

    async fn list(&self, points: &AccessPoints, root: &str) -> Result<Listing, AwsError> {
        let late = |what: String| AwsError::late("elasticfilesystem:DescribeAccessPoints", what);
        let all = async {
            let at = Instant::now();
            let mut listing = Listing { at, pages: 0, count: 0, homes: HashMap::new() };
            let mut next = None;
            while listing.pages < PAGES {
                let (found, more) = points.page(&self.id, next).await?;
                listing.pages += 1;
                listing.count += found.len();
                for point in found.into_iter().filter(|point| !point.is_leaving()) {
                    let below =
                        point.lead.path.strip_prefix(root).and_then(|p| p.strip_prefix('/'));
                    if let Some(key) = below.and_then(VolumeKey::new) {
                        listing.homes.insert(key, point.id);
                    }
                }
                if more.is_none() {
                    return Ok(listing);
                }
                next = more;
            }
            Err(late(format!("the access points of {} fill more than {PAGES} pages", self.id)))
        };
        let listed = tokio::time::timeout(LISTED, all).await;
        listed.unwrap_or_else(|_| {
            let patience = LISTED.as_secs();
            Err(late(format!("the access points of {} took over {patience} s", self.id)))
        })
    }
}
