//! An app on tower-sessions with its Redis store; its cookie is the bare id unless COOKIE says otherwise. It knows
//! nothing of the gateway.

use axum::{
    Form, Json, Router,
    http::{HeaderMap, StatusCode},
    response::{Html, IntoResponse, Redirect, Response},
    routing::get,
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{collections::BTreeMap, env, error::Error};
use tower_sessions::{Session, SessionManagerLayer, cookie::Key, session};
use tower_sessions_redis_store::{RedisStore, fred::prelude::*};

#[derive(Deserialize)]
struct Login {
    user: String,
    #[serde(default)]
    roles: String,
}

/// What goes wrong with the session is a 500.
struct Failure(session::Error);

type Answer = Result<Response, Failure>;

impl From<session::Error> for Failure {
    fn from(error: session::Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (StatusCode::INTERNAL_SERVER_ERROR, self.0.to_string()).into_response()
    }
}

async fn form() -> Html<&'static str> {
    Html(r#"<form method="post"><input name="user"><button>Log in</button></form>"#)
}

async fn login(session: Session, Form(login): Form<Login>) -> Answer {
    let id = login.user.parse().map_or_else(|_| Value::from(login.user), |id: u64| id.into());
    let roles: Vec<_> = login.roles.split(',').filter(|role| !role.is_empty()).collect();
    session.cycle_id().await?;
    session.insert("user", json!({ "id": id, "roles": roles })).await?;
    session.insert("count", 0).await?;
    Ok(Redirect::to("/").into_response())
}

async fn increment(session: Session) -> Answer {
    let Some(count) = session.get::<u64>("count").await? else {
        return Ok((StatusCode::FORBIDDEN, Json(json!({ "error": "log in first" }))).into_response());
    };
    session.insert("count", count + 1).await?;
    Ok(Json(json!({ "count": count + 1 })).into_response())
}

async fn logout(session: Session) -> Answer {
    session.flush().await?;
    Ok(Json(json!({ "bye": true })).into_response())
}

async fn index(session: Session, headers: HeaderMap) -> Answer {
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let seen: BTreeMap<_, _> = headers.iter().map(|(name, value)| (name.as_str(), text(value.as_bytes()))).collect();
    let (user, count) = (session.get::<Value>("user").await?, session.get::<u64>("count").await?);
    Ok(Json(json!({ "user": user, "count": count, "seen": seen })).into_response())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = format!("redis://127.0.0.1:{}", env::var("REDIS_PORT")?);
    let pool = Pool::new(Config::from_url(&url)?, None, None, None, 2)?;
    pool.connect();
    pool.wait_for_connect().await?;
    let app = Router::new()
        .route("/login", get(form).post(login))
        .route("/increment", get(index).post(increment))
        .route("/logout", get(index).post(logout))
        .fallback(index);
    // The site is plain http here.
    let sessions = SessionManagerLayer::new(RedisStore::new(pool)).with_secure(false);
    let key = || env::var("SESSION_SECRET").map(|secret| Key::from(secret.as_bytes()));
    let app = match env::var("COOKIE").as_deref() {
        Ok("signed") => app.layer(sessions.with_signed(key()?)),
        Ok("private") => app.layer(sessions.with_private(key()?)),
        _ => app.layer(sessions),
    };
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{}", env::var("PORT")?)).await?;
    Ok(axum::serve(listener, app).await?)
}
