//! A catalog that really refuses: Nessie behind Keycloak, whose tokens live 60 s. Keys of the store are vended.

use crate::common::{at, batch, row};
use crate::hours::put;
use crate::{frames_of, options_of, s3, unique};
use iceberg::TableIdent;
use rva_lake::{
    CommitOutcome, HourByCam, Lake, LakeErrorKind, LakeOptions, RestAuth, RestOptions, TableSink, storage::S3Options,
};
use rva_stack::Stack;
use rva_stack::proxy::{Proxy, Then};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// One test at a time uses the identity provider's client: one of them has it refused.
static CLIENT: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

type Environment = BTreeMap<String, String>;

fn credentials(environment: &Environment, credential: &str) -> RestAuth {
    RestAuth::ClientCredentials {
        credential: credential.to_owned(),
        oauth2_uri: Some(environment["NESSIE_SECURE_OAUTH2_URI"].clone()),
        scope: None,
    }
}

fn rest(environment: &Environment, auth: RestAuth) -> RestOptions {
    RestOptions {
        warehouse: Some("lakehouse".into()),
        auth,
        vended_credentials: true,
        ..RestOptions::new(&environment["NESSIE_SECURE_CATALOG_URI"])
    }
}

/// Without keys of one's own.
fn without_keys(stack: &Stack, job: &str) -> LakeOptions {
    options_of(job, S3Options { keys: None, ..s3(stack) })
}

async fn token(environment: &Environment) -> String {
    let (id, secret) = environment["NESSIE_SECURE_CREDENTIAL"].split_once(':').unwrap();
    let form = [("grant_type", "client_credentials"), ("client_id", id), ("client_secret", secret)];
    let answer = reqwest::Client::new().post(&environment["NESSIE_SECURE_OAUTH2_URI"]).form(&form).send().await;
    let answer: Value = answer.unwrap().json().await.unwrap();
    // A second may pass while it is made.
    let lasts = answer["expires_in"].as_u64().unwrap_or_default();
    assert!((50..=60).contains(&lasts), "{answer}");
    answer["access_token"].as_str().unwrap().to_owned()
}

/// Makes the identity provider refuse our client, or take it again.
async fn set_enabled(environment: &Environment, is_enabled: bool) {
    let client = reqwest::Client::new();
    let admin = &environment["KEYCLOAK_ADMIN_URL"];
    let master = admin.replace("/admin/realms/rva", "/realms/master/protocol/openid-connect/token");
    let (user, password) = (&environment["KEYCLOAK_ADMIN_USER"], &environment["KEYCLOAK_ADMIN_PASSWORD"]);
    let form = [("grant_type", "password"), ("client_id", "admin-cli"), ("username", user), ("password", password)];
    let answer: Value = client.post(master).form(&form).send().await.unwrap().json().await.unwrap();
    let token = answer["access_token"].as_str().unwrap_or_else(|| panic!("no admin's token: {}", answer["error"]));
    let found = client.get(format!("{admin}/clients?clientId=rva-ingest")).bearer_auth(token);
    let found: Value = found.send().await.unwrap().json().await.unwrap();
    let mut ours = found[0].clone();
    ours["enabled"] = is_enabled.into();
    let put = client.put(format!("{admin}/clients/{}", ours["id"].as_str().unwrap())).bearer_auth(token).json(&ours);
    put.send().await.unwrap().error_for_status().unwrap();
}

async fn refused(rest: &RestOptions, options: LakeOptions, wanted: &[&str], secrets: &[&str]) {
    let began = Instant::now();
    let error = Lake::open_rest(rest, options).await.unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(15), "it took {:?}", began.elapsed());
    let text = error.to_string();
    assert_eq!(error.kind(), LakeErrorKind::Permanent, "{text}");
    for part in wanted.iter().chain([&rest.uri.as_str()]) {
        assert!(text.contains(part), "wanted {part:?} in {text}");
    }
    for secret in secrets {
        assert!(!text.contains(secret), "a secret is in {text}");
    }
    println!("{text}");
}

#[tokio::test]
async fn wrong_credentials_are_refused_at_once_with_the_key_that_holds_them() {
    let Some(stack) = rva_stack::stack() else { return };
    let _client = CLIENT.lock().await;
    let _turn = stack.shared().await;
    let environment = stack.optional("nessie-secure");
    let environment = &environment;
    let right = environment["NESSIE_SECURE_CREDENTIAL"].as_str();
    let oauth2 = environment["NESSIE_SECURE_OAUTH2_URI"].as_str();
    let options = || without_keys(stack, &unique());
    refused(&rest(environment, RestAuth::None), options(), &["401", "ICEBERG_CREDENTIAL", "ICEBERG_TOKEN"], &[]).await;
    let bearer = RestAuth::Token("hush-hush".into());
    let wanted = ["401", "bearer token", "iceberg.token, ICEBERG_TOKEN"];
    refused(&rest(environment, bearer), options(), &wanted, &["hush-hush"]).await;
    for credential in ["rva-ingest:hush-hush", "nobody:hush-hush"] {
        let wanted = [oauth2, "_client", "iceberg.credential, ICEBERG_CREDENTIAL"];
        refused(&rest(environment, credentials(environment, credential)), options(), &wanted, &["hush-hush"]).await;
    }
    let of = |scope: Option<&str>, uri: Option<String>| RestAuth::ClientCredentials {
        credential: right.to_owned(),
        oauth2_uri: uri,
        scope: scope.map(str::to_owned),
    };
    let secret = right.split_once(':').unwrap().1;
    let wrong = of(Some("everything"), Some(oauth2.to_owned()));
    refused(&rest(environment, wrong), options(), &["invalid_scope", "everything", "iceberg.scope"], &[secret]).await;
    // The catalog itself gives out no tokens.
    refused(&rest(environment, of(None, None)), options(), &["/v1/oauth/tokens", "ICEBERG_OAUTH2_URI"], &[secret])
        .await;
    // A realm that isn't there.
    let elsewhere = of(None, Some(oauth2.replace("/rva/", "/nowhere/")));
    refused(&rest(environment, elsewhere), options(), &["404", "ICEBERG_OAUTH2_URI"], &[secret]).await;
    // Who gives out tokens is away: that may cure itself.
    let away = rest(environment, of(None, Some("http://127.0.0.1:1/token".into())));
    let error = Lake::open_rest(&away, options()).await.unwrap_err();
    assert_eq!(error.kind(), LakeErrorKind::Transient, "{error}");
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
    let warehouse =
        RestOptions { warehouse: Some("nowhere".into()), ..rest(environment, credentials(environment, right)) };
    refused(&warehouse, options(), &["\"nowhere\"", "iceberg.warehouse, ICEBERG_WAREHOUSE"], &[secret]).await;
}

#[tokio::test]
async fn tokens_of_a_minute_are_renewed_over_minutes_of_commits() {
    let Some(stack) = rva_stack::stack() else { return };
    let _client = CLIENT.lock().await;
    let _turn = stack.shared().await;
    let environment = stack.optional("nessie-secure");
    let environment = &environment;
    // A longer run by hand: RVA_TEST_SECONDS=600.
    let seconds = std::env::var("RVA_TEST_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(80);
    let old = token(environment).await;
    let job = unique();
    let auth = credentials(environment, &environment["NESSIE_SECURE_CREDENTIAL"]);
    let lake = Lake::open_rest(&rest(environment, auth), without_keys(stack, &job)).await.unwrap();
    let mut sink = lake.bronze_sink().unwrap();
    let mut table = lake.for_job(rva_lake::REFINE_JOB).refined::<HourByCam>().await.unwrap();
    let offsets = |number: i64| at(&[("a", number as u64)]);
    let next = |n: i64| {
        let from = if n == 0 { at(&[]) } else { offsets(n * 10) };
        batch(from, offsets(n * 10 + 10), (n * 10 + 1..=n * 10 + 10).map(|frame| row(&job, frame)).collect())
    };
    let committed = CommitOutcome::Committed { rows_appended: 10, rows_known: 0 };
    let (began, mut commits, mut slowest) = (Instant::now(), 0, Duration::ZERO);
    while began.elapsed() < Duration::from_secs(seconds) {
        let start = Instant::now();
        assert_eq!(sink.commit(&next(commits)).await.unwrap(), committed, "after {:?}", began.elapsed());
        slowest = slowest.max(start.elapsed());
        // Changes of files show a token of their own.
        put(&mut *table, &[1], commits).await;
        commits += 1;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    println!("{commits} commits in {:?}, the slowest {slowest:?}", began.elapsed());

    // The client is refused from now on, which is noticed when its token runs out.
    set_enabled(environment, false).await;
    let refusal = loop {
        match sink.commit(&next(commits)).await {
            Ok(outcome) => {
                assert_eq!(outcome, committed);
                commits += 1;
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            Err(error) => break error,
        }
        assert!(began.elapsed() < Duration::from_secs(seconds + 120), "a refused client still commits");
    };
    set_enabled(environment, true).await;
    let text = refusal.to_string();
    println!("{text}");
    assert_eq!(refusal.kind(), LakeErrorKind::Transient, "somebody may cure it, the batch waits: {text}");
    for part in [&environment["NESSIE_SECURE_OAUTH2_URI"], "_client", "iceberg.credential, ICEBERG_CREDENTIAL"] {
        assert!(text.contains(part), "wanted {part:?} in {text}");
    }
    // The same batch goes in once the client is taken again.
    assert_eq!(sink.commit(&next(commits)).await.unwrap(), committed);
    commits += 1;
    let wanted: Vec<i64> = (1..=commits * 10).collect();
    assert_eq!(frames_of(&lake, &job).await, wanted);

    // A token that was good a while ago.
    let expired = rest(environment, RestAuth::Token(old.clone()));
    refused(&expired, without_keys(stack, &job), &["401", "expired", "iceberg.token"], &[&old]).await;
}

#[tokio::test]
async fn a_vended_key_opens_its_own_tables_folder_and_no_other() {
    let Some(stack) = rva_stack::stack() else { return };
    let _turn = stack.shared().await;
    let environment = stack.optional("nessie");
    let rest = RestOptions {
        warehouse: Some("lakehouse".into()),
        vended_credentials: true,
        ..RestOptions::new(&environment["NESSIE_CATALOG_URI"])
    };
    let lake = Lake::open_rest(&rest, without_keys(stack, &unique())).await.unwrap();
    let load =
        async |name: &str| lake.catalog().load_table(&TableIdent::from_strs(["rva", name]).unwrap()).await.unwrap();
    let (bronze, letters) = (load("bronze_raw").await, load("bronze_dead_letters").await);
    let write = async |with: &iceberg::table::Table, into: &iceberg::table::Table| {
        let path = format!("{}/data/{}", into.metadata().location(), unique());
        with.file_io().new_output(path).unwrap().write("x".into()).await
    };
    // The keys that came last are the dead letters'.
    write(&letters, &letters).await.unwrap();
    write(&bronze, &bronze).await.unwrap();
    let error = write(&bronze, &letters).await.unwrap_err();
    assert!(format!("{error:?}").contains("AccessDenied"), "{error:?}");
}

#[tokio::test]
async fn keys_are_asked_for_with_every_call_where_there_are_none() {
    let Some(stack) = rva_stack::stack() else { return };
    let _turn = stack.shared().await;
    let proxy = Proxy::start(stack.get("ICEBERG_CATALOG_URI")).await.unwrap();
    for wanted in [true, false] {
        let (with, without) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (asking, silent) = (Arc::clone(&with), Arc::clone(&without));
        proxy.rule(move |head| {
            let asks = head.to_lowercase().contains("x-iceberg-access-delegation: vended-credentials");
            if asks { &asking } else { &silent }.fetch_add(1, Ordering::SeqCst);
            Then::Pass
        });
        let rest = RestOptions { vended_credentials: wanted, ..RestOptions::new(&proxy.uri) };
        Lake::open_rest(&rest, options_of(&unique(), s3(stack))).await.unwrap();
        let counts = (with.load(Ordering::SeqCst), without.load(Ordering::SeqCst));
        assert!(if wanted { counts.0 > 3 && counts.1 == 0 } else { counts.0 == 0 && counts.1 > 3 }, "{counts:?}");
    }
}
