//! The calls about removals of users, for operators.

use reqwest::Method;
use serde::Serialize;

use super::{Api, CallError};
use crate::removal::Removal;

impl Api {
    /// Asks for a user to be removed, and does not wait for it. Asked again it is the same removal.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn remove_user(&self, issuer: &str, user: &str) -> Result<Removal, CallError> {
        #[derive(Serialize)]
        struct Asked<'a> {
            issuer: &'a str,
            user: &'a str,
        }
        let request = self.request(Method::POST, "v1/removals").json(&Asked { issuer, user });
        Ok(self.call(request).await?.1)
    }

    /// How far a removal is.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn removal(&self, id: &str) -> Result<Removal, CallError> {
        let request = self.request(Method::GET, &format!("v1/removals/{id}"));
        Ok(self.call(request).await?.1)
    }
}
