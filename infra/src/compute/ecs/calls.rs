//! How ECS is called: each call takes its token, and is tried again where that can help. Knows no
//! tasks.

use std::fmt;
use std::future::Future;
use std::sync::Mutex;
use std::time::Duration;

use aws_sdk_ecs::Client;
use aws_sdk_ecs::config::retry::RetryConfig;
use aws_sdk_ecs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_ecs::operation::RequestId;
use tokio::time::Instant;

use super::bucket::Bucket;
use super::config::Rates;
use super::lock;
use crate::aws::{Aws, AwsError, AwsErrorKind, call, pause, random};

/// How long one call may take with all its waiting and its repeats. A caller who has less time drops
/// it.
const PATIENCE: Duration = Duration::from_secs(5 * 60);
/// How long a call that fails is tried again, but for one that finds no token.
const TRYING: Duration = Duration::from_secs(60);
/// Between two warnings that AWS takes no more.
const WARNED: Duration = Duration::from_secs(30);

/// ECS, as all of this process asks it.
#[derive(Debug)]
pub(super) struct Calls {
    /// It repeats nothing by itself: a repeat must take a token like any other call.
    pub(super) client: Client,
    pub(super) run: Bucket,
    pub(super) stop: Bucket,
    pub(super) read: Bucket,
    pub(super) register: Bucket,
    pub(super) definitions: Bucket,
    warned: Mutex<Option<Instant>>,
}

impl Calls {
    pub(super) fn new(aws: &Aws, rates: Rates) -> Self {
        let config = aws.ecs().config().to_builder().retry_config(RetryConfig::disabled());
        Self {
            client: Client::from_conf(config.build()),
            run: Bucket::new(rates.run),
            stop: Bucket::new(rates.stop),
            read: Bucket::new(rates.read),
            register: Bucket::new(rates.register),
            definitions: Bucket::new(rates.definitions),
            warned: Mutex::default(),
        }
    }

    /// So many gateways share what AWS allows, this one being one of them.
    pub(super) fn share(&self, among: u32) {
        for bucket in [&self.run, &self.stop, &self.read, &self.register, &self.definitions] {
            bucket.share(among);
        }
    }

    /// Calls until there is an answer that another try would not change, in turn with all others who
    /// draw on the same bucket.
    pub(super) async fn ask<T, E, R, F>(
        &self,
        bucket: &Bucket,
        action: &'static str,
        send: impl Fn() -> F,
    ) -> Result<T, AwsError>
    where
        F: Future<Output = Result<T, SdkError<E, R>>>,
        T: RequestId,
        E: ProvideErrorMetadata + std::error::Error + 'static,
        R: fmt::Debug,
        SdkError<E, R>: RequestId,
    {
        let latest = Instant::now() + PATIENCE;
        let mut trying = None;
        for failures in 0.. {
            turn(bucket, action, latest).await?;
            let until = *trying.get_or_insert_with(|| latest.min(Instant::now() + TRYING));
            // The SDK's futures are large: on the heap they take no stack from those around them.
            let error = match self.call(bucket, action, Box::pin(send())).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let pause = pause(failures, random());
            // That others have taken the tokens is no failure: more come.
            let until = if error.kind == AwsErrorKind::Throttled { latest } else { until };
            if !error.is_retryable() || Instant::now() + pause >= until {
                return Err(error);
            }
            tracing::debug!(%error, failures, "ECS is asked again");
            tokio::time::sleep(pause).await;
        }
        Err(crowded(action))
    }

    /// Calls once, in turn with all others who draw on the same bucket.
    pub(super) async fn once<T, E, R>(
        &self,
        bucket: &Bucket,
        action: &'static str,
        sent: impl Future<Output = Result<T, SdkError<E, R>>>,
    ) -> Result<T, AwsError>
    where
        T: RequestId,
        E: ProvideErrorMetadata + std::error::Error + 'static,
        R: fmt::Debug,
        SdkError<E, R>: RequestId,
    {
        turn(bucket, action, Instant::now() + PATIENCE).await?;
        self.call(bucket, action, sent).await
    }

    /// Calls, and tells the bucket where AWS says that there was no token.
    async fn call<T, E, R>(
        &self,
        bucket: &Bucket,
        action: &'static str,
        sent: impl Future<Output = Result<T, SdkError<E, R>>>,
    ) -> Result<T, AwsError>
    where
        T: RequestId,
        E: ProvideErrorMetadata + std::error::Error + 'static,
        R: fmt::Debug,
        SdkError<E, R>: RequestId,
    {
        let answer = call(action, sent).await;
        if let Err(error) = &answer
            && error.kind == AwsErrorKind::Throttled
        {
            self.throttled(bucket, error);
        }
        answer
    }

    /// AWS says that there was no token. That it says so again and again is news for an operator.
    fn throttled(&self, bucket: &Bucket, error: &AwsError) {
        bucket.empty();
        let mut warned = lock(&self.warned);
        if warned.is_none_or(|at| at.elapsed() >= WARNED) {
            *warned = Some(Instant::now());
            tracing::warn!(%error, "AWS is asked for more than it takes");
        }
    }
}

/// Waits for a token, until `latest`.
async fn turn(bucket: &Bucket, action: &'static str, latest: Instant) -> Result<(), AwsError> {
    match tokio::time::timeout_at(latest, bucket.take()).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(crowded(action)),
    }
}

/// This process itself asks for more than ECS takes.
fn crowded(action: &'static str) -> AwsError {
    AwsError {
        action,
        kind: AwsErrorKind::Throttled,
        code: String::new(),
        message: "too many calls wait for their turn".to_owned(),
        request_id: None,
    }
}

#[cfg(test)]
#[allow(clippy::result_large_err, reason = "the SDK's own results, which are not ours to box")]
mod tests {
    use std::sync::Arc;

    use aws_sdk_ecs::config::http::HttpResponse;
    use aws_sdk_ecs::error::ErrorMetadata;
    use aws_sdk_ecs::operation::run_task::{RunTaskError, RunTaskOutput};

    use super::*;
    use crate::compute::ecs::config::Rate;

    type Sent = Result<RunTaskOutput, SdkError<RunTaskError, HttpResponse>>;

    fn refused(code: &str) -> Sent {
        let error = RunTaskError::generic(ErrorMetadata::builder().code(code).build());
        let response = HttpResponse::new(400_u16.try_into().unwrap(), "".into());
        Err(SdkError::service_error(error, response))
    }

    fn lost() -> Sent {
        Err(SdkError::timeout_error("no answer"))
    }

    fn done() -> Sent {
        Ok(RunTaskOutput::builder().build())
    }

    async fn calls(rates: Rates) -> Arc<Calls> {
        let settings = crate::aws::AwsSettings {
            region: Some("us-east-1".to_owned()),
            ecs_endpoint: Some("http://127.0.0.1:1".to_owned()),
            ..Default::default()
        };
        Arc::new(Calls::new(&Aws::new(settings).await, rates))
    }

    /// What AWS itself counts for all who call it, in whole tokens; there is no line here.
    struct Counted {
        burst: f64,
        per_second: f64,
        tokens: f64,
        at: Instant,
        throttled: usize,
    }

    impl Counted {
        fn new(rate: Rate) -> Arc<Mutex<Self>> {
            let burst = f64::from(rate.burst);
            let (per_second, at) = (f64::from(rate.per_second), Instant::now());
            Arc::new(Mutex::new(Self { burst, per_second, tokens: burst, at, throttled: 0 }))
        }

        fn call(&mut self) -> Sent {
            let refilled = self.at.elapsed().as_secs_f64() * self.per_second;
            self.at = Instant::now();
            self.tokens = (self.tokens + refilled).min(self.burst);
            if self.tokens < 1.0 {
                self.throttled += 1;
                return refused("ThrottlingException");
            }
            self.tokens -= 1.0;
            done()
        }
    }

    /// Lets each of these gateways ask for so many tasks at once; how long it takes until all are
    /// there, and how many calls were too many.
    async fn storm(gateways: &[Arc<Calls>], tasks: usize, aws: Rate) -> (Duration, usize) {
        let counted = Counted::new(aws);
        let began = Instant::now();
        let mut starts = tokio::task::JoinSet::new();
        for _ in 0..tasks {
            for gateway in gateways {
                let (gateway, counted) = (gateway.clone(), counted.clone());
                starts.spawn(async move {
                    let send = || async { lock(&counted).call() };
                    gateway.ask(&gateway.run, "ecs:RunTask", send).await.unwrap();
                });
            }
        }
        starts.join_all().await;
        let throttled = lock(&counted).throttled;
        (began.elapsed(), throttled)
    }

    #[tokio::test(start_paused = true)]
    async fn a_storm_of_a_thousand_starts_takes_what_the_bucket_alone_takes() {
        let rate = Rates::default().run;
        let (took, throttled) = storm(&[calls(Rates::default()).await], 1000, rate).await;
        let bucket = Duration::from_secs(980) / rate.per_second;
        assert!(took >= bucket && took <= bucket.mul_f64(1.02), "{took:?} for {bucket:?}");
        assert!(throttled <= 1, "{throttled} calls too many");
    }

    #[tokio::test(start_paused = true)]
    async fn two_gateways_that_share_a_bucket_still_start_everything_in_its_time() {
        let rate = Rates::default().run;
        let gateways = [calls(Rates::default()).await, calls(Rates::default()).await];
        let (took, throttled) = storm(&gateways, 500, rate).await;
        let bucket = Duration::from_secs(980) / rate.per_second;
        assert!(took <= bucket.mul_f64(1.15), "{took:?} for {bucket:?}");
        assert!(throttled < 2000, "{throttled} calls too many");
    }

    #[tokio::test(start_paused = true)]
    async fn gateways_that_know_of_each_other_ask_for_hardly_more_than_there_is() {
        let rate = Rates::default().register;
        let mut gateways = Vec::new();
        for _ in 0..4 {
            let gateway = calls(Rates::default()).await;
            gateway.share(4);
            gateways.push(gateway);
        }
        // Each has as many starts under way as a gateway of four has.
        let counted = Counted::new(rate);
        let began = Instant::now();
        let mut starts = tokio::task::JoinSet::new();
        for gateway in gateways.iter().cycle().take(160).cloned() {
            let counted = counted.clone();
            starts.spawn(async move {
                let send = || async { lock(&counted).call() };
                gateway.ask(&gateway.register, "ecs:RegisterTaskDefinition", send).await.unwrap();
            });
        }
        starts.join_all().await;
        let bucket = Duration::from_secs(140) / rate.per_second;
        let took = began.elapsed();
        assert!(took <= bucket.mul_f64(1.15), "{took:?} for {bucket:?}");
        let throttled = lock(&counted).throttled;
        assert!(throttled < 160, "{throttled} calls too many");
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_help_is_not_tried_again() {
        let calls = calls(Rates::default()).await;
        for code in ["AccessDeniedException", "InvalidParameterException", "ConflictException"] {
            let tries = Mutex::new(0);
            let send = || async {
                *lock(&tries) += 1;
                refused(code)
            };
            let error = calls.ask(&calls.run, "ecs:RunTask", send).await.unwrap_err();
            assert_eq!((error.code.as_str(), error.action), (code, "ecs:RunTask"));
            assert_eq!(*lock(&tries), 1);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_goes_wrong_for_a_while_is_tried_until_it_goes_right() {
        let calls = calls(Rates::default()).await;
        let script = Mutex::new(vec![done(), lost(), refused("ServerException"), lost(), lost()]);
        let send = || async { lock(&script).pop().unwrap() };
        calls.ask(&calls.run, "ecs:RunTask", send).await.unwrap();
        assert!(lock(&script).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_goes_wrong_for_good_is_an_error_in_the_end() {
        let calls = calls(Rates::default()).await;
        for (answer, patience) in
            [(lost as fn() -> Sent, TRYING), (|| refused("ThrottlingException"), PATIENCE)]
        {
            let began = Instant::now();
            let send = || async move { answer() };
            let error = calls.ask(&calls.run, "ecs:RunTask", send).await.unwrap_err();
            assert!(error.is_retryable(), "{error}");
            assert!(began.elapsed() <= patience && began.elapsed() >= patience / 2);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_a_turn_too_long_is_told_so() {
        let rate = Rate { burst: 1, per_second: 1 };
        let calls = calls(Rates { run: rate, ..Rates::default() }).await;
        let mut line = tokio::task::JoinSet::new();
        for _ in 0..400 {
            let calls = calls.clone();
            line.spawn(async move {
                calls.ask(&calls.run, "ecs:RunTask", || async { done() }).await.map(drop)
            });
        }
        let answers = line.join_all().await;
        let late: Vec<_> = answers.into_iter().filter_map(Result::err).collect();
        assert!((98..=100).contains(&late.len()), "{}", late.len());
        assert!(late.iter().all(|error| error.kind == AwsErrorKind::Throttled));
    }
}
