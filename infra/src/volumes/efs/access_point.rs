//! Access points, one at a time: made, looked at, waited for, deleted. Knows one of them, not which
//! file system it should be on.

use std::fmt;
use std::time::Duration;

use aws_sdk_efs::error::{BuildError, SdkError};
use aws_sdk_efs::operation::create_access_point::CreateAccessPointError;
use aws_sdk_efs::operation::create_access_point::builders::CreateAccessPointFluentBuilder;
use aws_sdk_efs::types::{
    AccessPointDescription, CreationInfo, LifeCycleState, PosixUser, RootDirectory, Tag,
};
use tokio::time::Instant;

use crate::aws::{self, AwsError};
use crate::volumes::{VolumeError, VolumeKey};

/// How long EFS may take to make or delete one. It takes a few seconds.
const SETTLED: Duration = Duration::from_secs(30);
/// Between two looks at one that is being made or deleted: at first, and at most.
const AGAIN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// Access points of one answer. EFS gives up to 10,000, of about a kilobyte each.
const PAGE: i32 = 1000;

/// EFS's access points.
#[derive(Debug)]
pub(super) struct AccessPoints {
    efs: aws_sdk_efs::Client,
}

/// Where an access point leads, and as whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lead {
    pub(super) file_system: String,
    pub(super) path: String,
    pub(super) uid: i64,
    pub(super) gid: i64,
}

/// An access point as it is.
#[derive(Debug)]
pub(super) struct AccessPoint {
    pub(super) id: String,
    pub(super) lead: Lead,
    state: LifeCycleState,
}

/// What makes a repeated creation the first one: the same for the same home, for ever.
pub(super) fn client_token(file_system: &str, key: &VolumeKey) -> String {
    let mut digest = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    for part in ["shellgate access point", file_system, key.as_str()] {
        digest.update(part.as_bytes());
        digest.update(b"\0");
    }
    digest.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

impl AccessPoints {
    pub(super) fn new(efs: aws_sdk_efs::Client) -> Self {
        Self { efs }
    }

    /// Makes one, or finds the one that was made with the same token; `None` where its file system
    /// takes no more. It may take a while until it can be used.
    pub(super) async fn make(
        &self,
        key: &VolumeKey,
        lead: &Lead,
    ) -> Result<Option<String>, AwsError> {
        let mut there = None;
        let asked = async {
            let request = self.request(key, lead).map_err(SdkError::construction_failure)?;
            request.send().await.inspect_err(|error| {
                if let Some(CreateAccessPointError::AccessPointAlreadyExists(first)) =
                    error.as_service_error()
                {
                    there = Some(first.access_point_id().to_owned());
                }
            })
        };
        let answer = aws::call("elasticfilesystem:CreateAccessPoint", asked).await;
        match (answer, there) {
            (Ok(made), _) => Ok(made.access_point_id().map(str::to_owned)),
            (Err(_), Some(first)) => Ok(Some(first)),
            (Err(error), None) if error.code == "AccessPointLimitExceeded" => Ok(None),
            (Err(error), None) => Err(error),
        }
    }

    fn request(
        &self,
        key: &VolumeKey,
        lead: &Lead,
    ) -> Result<CreateAccessPointFluentBuilder, BuildError> {
        let tag = |key: &str, value: &str| Tag::builder().key(key).value(value).build();
        let made = CreationInfo::builder().owner_uid(lead.uid).owner_gid(lead.gid);
        let made = made.permissions("0700").build()?;
        Ok(self
            .efs
            .create_access_point()
            .client_token(client_token(&lead.file_system, key))
            .file_system_id(&lead.file_system)
            .posix_user(PosixUser::builder().uid(lead.uid).gid(lead.gid).build()?)
            .root_directory(RootDirectory::builder().path(&lead.path).creation_info(made).build())
            .tags(tag("Name", &format!("shellgate-{key}"))?)
            .tags(tag("shellgate:user", key.as_str())?))
    }

    /// One as it is; `None` where there is none.
    pub(super) async fn describe(&self, id: &str) -> Result<Option<AccessPoint>, AwsError> {
        let asked = self.efs.describe_access_points().access_point_id(id).send();
        match aws::call("elasticfilesystem:DescribeAccessPoints", asked).await {
            Ok(said) => Ok(said.access_points().first().and_then(AccessPoint::of)),
            Err(error) if error.code == "AccessPointNotFound" => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Those of a file system, from where the page before ended, and where this one ends.
    pub(super) async fn page(
        &self,
        file_system: &str,
        from: Option<String>,
    ) -> Result<(Vec<AccessPoint>, Option<String>), AwsError> {
        let asked = self.efs.describe_access_points().file_system_id(file_system);
        let asked = asked.max_results(PAGE).set_next_token(from).send();
        let said = aws::call("elasticfilesystem:DescribeAccessPoints", asked).await?;
        let found = said.access_points().iter().filter_map(AccessPoint::of).collect();
        Ok((found, said.next_token))
    }

    /// Waits until one that has just been made, or is being made, can be used.
    pub(super) async fn available(&self, id: &str) -> Result<AccessPoint, VolumeError> {
        let ready = |found: Option<AccessPoint>| match found {
            // EFS may not know yet what it has just made.
            None => Ok(None),
            Some(found) => match found.state {
                LifeCycleState::Available => Ok(Some(found)),
                LifeCycleState::Deleting | LifeCycleState::Deleted => {
                    Err(VolumeError::Gone(format!("the access point {id} is being deleted")))
                }
                LifeCycleState::Error => Err(VolumeError::Unsafe(format!(
                    "EFS could not make the access point {id}: delete it, and try again"
                ))),
                // Being made, or in a state of which this program does not know.
                _ => Ok(None),
            },
        };
        self.settled(id, "cannot be used", ready).await
    }

    /// Deletes one, and waits until it is gone. One that is gone already is deleted.
    pub(super) async fn delete(&self, id: &str) -> Result<(), VolumeError> {
        let asked = self.efs.delete_access_point().access_point_id(id).send();
        match aws::call("elasticfilesystem:DeleteAccessPoint", asked).await {
            Err(error) if error.code == "AccessPointNotFound" => return Ok(()),
            answer => drop(answer?),
        }
        let gone = |found: Option<AccessPoint>| match found {
            None => Ok(Some(())),
            Some(found) => Ok((found.state == LifeCycleState::Deleted).then_some(())),
        };
        self.settled(id, "is not deleted", gone).await
    }

    /// Looks at one until it is as it should be. What AWS can't say now is asked again.
    async fn settled<T>(
        &self,
        id: &str,
        or: &str,
        is: impl Fn(Option<AccessPoint>) -> Result<Option<T>, VolumeError>,
    ) -> Result<T, VolumeError> {
        let deadline = Instant::now() + SETTLED;
        let (mut again, at_most) = AGAIN;
        while Instant::now() < deadline {
            let look = tokio::time::timeout_at(deadline, self.describe(id)).await;
            match look {
                Ok(Ok(found)) => {
                    if let Some(settled) = is(found)? {
                        return Ok(settled);
                    }
                }
                Ok(Err(error)) if !error.is_retryable() => return Err(error.into()),
                Ok(Err(_)) | Err(_) => {}
            }
            tokio::time::sleep(again).await;
            again = at_most.min(again * 2);
        }
        let message = format!("the access point {id} {or} after {} s", SETTLED.as_secs());
        Err(AwsError::late("elasticfilesystem:DescribeAccessPoints", message).into())
    }
}

impl AccessPoint {
    fn of(said: &AccessPointDescription) -> Option<Self> {
        // Without a user it acts as whoever mounts it says.
        let owner = said.posix_user().map_or((0, 0), |user| (user.uid(), user.gid()));
        Some(Self {
            id: said.access_point_id()?.to_owned(),
            lead: Lead {
                file_system: said.file_system_id()?.to_owned(),
                path: said.root_directory().and_then(RootDirectory::path).unwrap_or("/").to_owned(),
                uid: owner.0,
                gid: owner.1,
            },
            state: said.life_cycle_state().cloned().unwrap_or(LifeCycleState::Available),
        })
    }

    /// Whether it is gone or about to be.
    pub(super) fn is_leaving(&self) -> bool {
        matches!(self.state, LifeCycleState::Deleting | LifeCycleState::Deleted)
    }

    /// That it leads nowhere else.
    pub(super) fn must_lead(&self, to: &Lead) -> Result<(), VolumeError> {
        if self.lead == *to {
            return Ok(());
        }
        let (id, lead) = (&self.id, &self.lead);
        Err(VolumeError::Unsafe(format!("the access point {id} leads to {lead}, not to {to}")))
    }
}

impl fmt::Display for Lead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file_system, path, uid, gid } = self;
        write!(f, "{file_system}:{path} as {uid}:{gid}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_the_same_for_the_same_home_and_fits() {
        let key = |text: &str| VolumeKey::new(text).unwrap();
        let token = client_token("fs-12", &key("ada"));
        assert_eq!(token, client_token("fs-12", &key("ada")));
        assert_eq!(token.len(), 64);
        for (file_system, other) in [("fs-1", "2ada"), ("fs-12", "ad"), ("fs-13", "ada")] {
            assert_ne!(token, client_token(file_system, &key(other)));
        }
    }
}
