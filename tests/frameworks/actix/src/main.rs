//! An app on actix-session with its Redis store; its cookie is encrypted, or signed alone where COOKIE says so. It
//! knows nothing of the gateway.

use actix_session::{Session, SessionMiddleware, config::CookieContentSecurity, storage::RedisSessionStore};
use actix_web::{
    App, HttpRequest, HttpResponse, HttpServer, Result,
    cookie::Key,
    web::{self, Form},
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{collections::BTreeMap, env, error::Error};

#[derive(Deserialize)]
struct Login {
    user: String,
    #[serde(default)]
    roles: String,
}

async fn form() -> HttpResponse {
    let form = r#"<form method="post"><input name="user"><button>Log in</button></form>"#;
    HttpResponse::Ok().content_type("text/html").body(form)
}

async fn login(session: Session, Form(login): Form<Login>) -> Result<HttpResponse> {
    let id = login.user.parse().map_or_else(|_| Value::from(login.user), |id: u64| id.into());
    let roles: Vec<_> = login.roles.split(',').filter(|role| !role.is_empty()).collect();
    session.renew();
    session.insert("user", json!({ "id": id, "roles": roles }))?;
    session.insert("count", 0)?;
    Ok(HttpResponse::SeeOther().insert_header(("Location", "/")).finish())
}

async fn increment(session: Session) -> Result<HttpResponse> {
    let Some(count) = session.get::<u64>("count")? else {
        return Ok(HttpResponse::Forbidden().json(json!({ "error": "log in first" })));
    };
    session.insert("count", count + 1)?;
    Ok(HttpResponse::Ok().json(json!({ "count": count + 1 })))
}

async fn logout(session: Session) -> HttpResponse {
    session.purge();
    HttpResponse::Ok().json(json!({ "bye": true }))
}

async fn index(session: Session, request: HttpRequest) -> Result<HttpResponse> {
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let seen: BTreeMap<_, _> =
        request.headers().iter().map(|(name, value)| (name.to_string(), text(value.as_bytes()))).collect();
    let (user, count) = (session.get::<Value>("user")?, session.get::<u64>("count")?);
    Ok(HttpResponse::Ok().json(json!({ "user": user, "count": count, "seen": seen })))
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let store = RedisSessionStore::new(format!("redis://127.0.0.1:{}", env::var("REDIS_PORT")?)).await?;
    let key = Key::from(env::var("SESSION_SECRET")?.as_bytes());
    let security = match env::var("COOKIE").as_deref() {
        Ok("signed") => CookieContentSecurity::Signed,
        _ => CookieContentSecurity::Private,
    };
    let app = move || {
        // The site is plain http here.
        let sessions = SessionMiddleware::builder(store.clone(), key.clone())
            .cookie_secure(false)
            .cookie_content_security(security)
            .build();
        App::new()
            .wrap(sessions)
            .service(web::resource("/login").get(form).post(login))
            .route("/increment", web::post().to(increment))
            .route("/logout", web::post().to(logout))
            .default_service(web::to(index))
    };
    Ok(HttpServer::new(app).workers(1).bind(format!("127.0.0.1:{}", env::var("PORT")?))?.run().await?)
}
