//! Which cookies count, and which go on.

use super::*;

#[tokio::test]
async fn of_several_cookies_the_first_with_a_user_counts_and_is_the_only_one_forwarded() {
    let sessions = sessions(express(&[SECRET]));
    let anonymous = sessions.plant("anonymous", r#"{"cookie":{}}"#).await;
    let zoe = sessions.plant("zoe", r#"{"cookie":{},"user":{"id":"zoe"}}"#).await;
    let max = sessions.plant("max", r#"{"cookie":{},"user":{"id":"max"}}"#).await;
    let first = format!("a=b; connect.sid=forged; novalue; {anonymous}");
    let second = format!("{zoe}; {max}");
    let identified = sessions.identify(&cookies(&[&first, &second]), false, Activity::Counts, W).await;
    assert_eq!(user(&identified), Some("zoe"));
    assert_eq!(identified.presented, Some(SessionId::new("zoe")));
    assert_eq!(identified.edits, [CookieEdit { name: "connect.sid".into(), keep: Keep::Only(4) }]);
    let identified = sessions.identify(&cookies(&[&first]), false, Activity::Counts, W).await;
    assert_eq!((user(&identified), identified.edits.len()), (None, 0));
    assert_eq!(identified.presented, Some(SessionId::new("anonymous")));
}

#[tokio::test]
async fn a_cookie_that_does_not_verify_never_reaches_the_store_and_of_those_that_do_only_eight() {
    let mut server = Server::start(&[]);
    let sessions = Arc::new(Sessions::compile(&config(express(&[SECRET])), store(Some(&server)), &Metrics::new(1)));
    let zoe = sessions.plant("zoe", r#"{"cookie":{},"user":{"id":"zoe"}}"#).await;
    let forged = vec!["connect.sid=s:x.y"; 100].join("; ");
    let asked = |server: &Server| {
        let stats = server.cli(&["info", "commandstats"]);
        let line = stats.lines().find(|line| line.starts_with("cmdstat_getrange")).unwrap_or("calls=0,").to_owned();
        line.split(['=', ',']).nth(1).unwrap().parse::<u32>().unwrap()
    };
    let identified = sessions.identify(&cookies(&[&forged]), false, Activity::Counts, W).await;
    assert_eq!((absence(identified), asked(&server)), (Absence::BadSignature, 0));
    let signed: Vec<_> =
        (0..20).map(|n| format!("connect.sid={}", sessions.sign(&SessionId::new(format!("{n}"))))).collect();
    let many = signed.join("; ");
    let identified = sessions.identify(&cookies(&[&many, &zoe]), false, Activity::Counts, W).await;
    assert_eq!((absence(identified), asked(&server)), (Absence::NotFound, 8));
    assert_eq!(user(&sessions.identify(&cookies(&[&forged, &zoe]), false, Activity::Counts, W).await), Some("zoe"));
    server.kill();
    assert!(matches!(
        sessions.identify(&cookies(&[&forged]), false, Activity::Counts, W).await.verdict,
        Verdict::Absent(_)
    ));
    let identified = sessions.identify(&cookies(&[&zoe]), false, Activity::Counts, W).await;
    assert!(matches!(identified.verdict, Verdict::Unknown(_)) && identified.edits.is_empty());
}

#[tokio::test]
async fn a_cookie_that_stays_at_the_gateway_is_cut_on_every_rule() {
    let mut config = config(express(&[SECRET]));
    config.forward_cookie = false;
    let sessions = Arc::new(Sessions::compile(&config, store(None), &Metrics::new(1)));
    let zoe = sessions.plant("zoe", r#"{"cookie":{},"user":{"id":"zoe"}}"#).await;
    let cut = [CookieEdit { name: "connect.sid".into(), keep: Keep::Nothing }];
    assert_eq!(sessions.identify(&cookies(&[&zoe]), false, Activity::Counts, W).await.edits, cut);
    assert_eq!(sessions.strip_edits(&cookies(&["connect.sid=x"]), false), cut);
    assert_eq!(sessions.strip_edits(&cookies(&["a=b"]), false), []);
    assert_eq!(sessions.identify(&cookies(&["a=b"]), false, Activity::Counts, W).await.edits, []);
}

#[tokio::test]
async fn a_name_that_an_app_trims_to_the_sessions_does_not_get_past_a_valid_cookie() {
    let sessions = sessions(express(&["keyboard cat"]));
    let signed = |id: &str| sessions.sign(&SessionId::new(id));
    sessions
        .store
        .create(W, "sess:a", r#"{"cookie":{},"user":{"id":"a"}}"#.into(), Duration::from_secs(60))
        .await
        .unwrap();
    for planted in [&b"\xa0connect.sid="[..], b"=connect.sid=", b"= connect.sid ="] {
        let line = [planted, signed("b").as_bytes(), b"; connect.sid=", signed("a").as_bytes()].concat();
        let headers = HeaderMap::from_iter([(http::header::COOKIE, http::HeaderValue::from_bytes(&line).unwrap())]);
        let identified = sessions.identify(&headers, false, Activity::Counts, W).await;
        assert_eq!(identified.edits.first().map(|edit| edit.keep.clone()), Some(Keep::Only(1)), "{planted:?}");
    }
}

#[tokio::test]
async fn cookies_that_nobody_looked_up_do_not_pass_as_anonymous() {
    let sessions = sessions(express(&[SECRET]));
    let signed: Vec<_> =
        (0..10).map(|n| format!("connect.sid={}", sessions.sign(&SessionId::new(format!("{n}"))))).collect();
    let identified = sessions.identify(&cookies(&[&signed.join("; ")]), false, Activity::Counts, W).await;
    assert_eq!(identified.edits, [CookieEdit { name: "connect.sid".into(), keep: Keep::AllBut(vec![8, 9]) }]);
}

#[tokio::test]
async fn a_signature_in_a_second_cookie_is_forwarded_with_its_cookie_or_not_at_all() {
    let mut config = config(FormatConfig::Koa { secrets: vec![Secret::new("koa key one")] });
    config.cookie = Some("koa.sid".to_owned());
    let sessions = Arc::new(Sessions::compile(&config, store(None), &Metrics::new(1)));
    let record = r#"{"cookie":{},"user":{"id":"zoe"}}"#;
    let minute = Duration::from_secs(60);
    sessions.store.create(W, "sess:gtw81HCzReIIx1XuA2ovipK_tzasDqEZ", record.into(), minute).await.unwrap();
    let signed = "koa.sid=gtw81HCzReIIx1XuA2ovipK_tzasDqEZ; koa.sid.sig=EofcuBuKCgHUhAvqVs3lCitaS8s";
    let line = format!("koa.sid.sig=forged; koa.sid=planted; {signed}; koa.sid=late");
    let identified = sessions.identify(&cookies(&[&line]), false, Activity::Counts, W).await;
    assert_eq!(user(&identified), Some("zoe"));
    let edit = |name: &str, keep| CookieEdit { name: name.into(), keep };
    assert_eq!(identified.edits, [edit("koa.sid", Keep::Only(2)), edit("koa.sid.sig", Keep::Only(3))]);
    let alone =
        sessions.identify(&cookies(&["koa.sid=gtw81HCzReIIx1XuA2ovipK_tzasDqEZ"]), false, Activity::Counts, W).await;
    assert_eq!(absence(alone), Absence::BadSignature);

    config.forward_cookie = false;
    let sessions = Arc::new(Sessions::compile(&config, store(None), &Metrics::new(1)));
    let cut = [edit("koa.sid", Keep::Nothing), edit("koa.sid.sig", Keep::Nothing)];
    assert_eq!(sessions.strip_edits(&cookies(&[signed]), false), cut);
}

/// PHP, Koa, Rails and Go keep the white space in the name or the value; some read a name alone as a cookie without a
/// value. The gateway knows nobody whom the app does not, and the app sees the cookie that counts and no other; where none
/// counts it sees none that is spelled in such a way.
#[tokio::test]
async fn a_cookie_that_its_app_reads_otherwise_does_not_count() {
    let id = "tguhmhqrj7vmmerqqf19q0fpin";
    let mut php = config(FormatConfig::Php { serializer: config::session::Serializer::Auto });
    php.cookie = Some("PHPSESSID".to_owned());
    let php = Arc::new(Sessions::compile(&php, store(None), &Metrics::new(1)));
    let record = "user|a:1:{s:2:\"id\";i:7;}";
    php.store.create(W, &format!("sess:{id}"), record.into(), Duration::from_secs(60)).await.unwrap();
    let express = sessions(express(&[SECRET]));
    express.plant(id, r#"{"cookie":{},"user":{"id":7}}"#).await;
    let judge = async |sessions: &Arc<Sessions>, line: &str| {
        let identified = sessions.identify(&cookies(&[line]), false, Activity::Counts, W).await;
        (user(&identified).map(str::to_owned), identified.edits.into_iter().map(|edit| edit.keep).collect::<Vec<_>>())
    };
    let (known, cut) = (Some("7".to_owned()), |at| vec![Keep::AllBut(vec![at])]);
    let (name, signed) = ("connect.sid", express.sign(&SessionId::new(id)));
    assert_eq!(judge(&php, &format!("a=b;  PHPSESSID={id}")).await, (known.clone(), vec![]));
    for spaced in [" =", "= ", "\t=", " = "] {
        assert_eq!(judge(&php, &format!("PHPSESSID{spaced}{id}")).await, (None, cut(0)), "{spaced:?}");
        let both = format!("PHPSESSID{spaced}{id}; PHPSESSID={id}");
        assert_eq!(judge(&php, &both).await, (known.clone(), vec![Keep::Only(1)]), "{spaced:?}");
        assert_eq!(judge(&express, &format!("{name}{spaced}{signed}")).await, (known.clone(), vec![]), "{spaced:?}");
    }
    assert_eq!(judge(&php, &format!("a=b; PHPSESSID={id} ; c=d")).await, (None, cut(1)));
    assert_eq!(judge(&express, &format!("a=b; %63onnect.sid={signed}")).await, (None, cut(1)));
    assert_eq!(judge(&express, &format!("{name}=x; {name}={signed}x")).await, (None, vec![]));
    assert_eq!(judge(&php, &format!("PHPSESSID; PHPSESSID={id}")).await, (known.clone(), vec![Keep::Only(1)]));
    assert_eq!(judge(&express, &format!("{name} ; {name}={signed}")).await, (known, vec![Keep::Only(1)]));
}
