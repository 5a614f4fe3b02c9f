// An app on gorilla/sessions with boj/redistore, in JSON where SERIALIZER says so. It knows nothing of the gateway.
package main

import (
	"encoding/json"
	"log"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/boj/redistore"
	"github.com/gorilla/sessions"
)

var store *redistore.RediStore

var number = regexp.MustCompile(`^[0-9]{1,15}$`)

func session(r *http.Request) *sessions.Session {
	session, _ := store.Get(r, "session")
	return session
}

// What JSON wrote comes back as a float64.
func count(session *sessions.Session) interface{} {
	if count, ok := session.Values["count"].(float64); ok {
		return int(count)
	}
	return session.Values["count"]
}

func save(w http.ResponseWriter, r *http.Request, session *sessions.Session) bool {
	err := session.Save(r, w)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
	return err == nil
}

func answer(w http.ResponseWriter, status int, body map[string]interface{}) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func login(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte(`<form method="post"><input name="user"><button>Log in</button></form>`))
		return
	}
	session := session(r)
	user := r.FormValue("user")
	session.Values["user"] = user
	if id, err := strconv.Atoi(user); err == nil && number.MatchString(user) {
		session.Values["user"] = id
	}
	session.Values["roles"] = strings.Split(r.FormValue("roles"), ",")
	session.Values["count"] = 0
	if save(w, r, session) {
		http.Redirect(w, r, "/", http.StatusSeeOther)
	}
}

func increment(w http.ResponseWriter, r *http.Request) {
	session := session(r)
	if session.Values["user"] == nil {
		answer(w, http.StatusForbidden, map[string]interface{}{"error": "log in first"})
		return
	}
	session.Values["count"] = count(session).(int) + 1
	if save(w, r, session) {
		answer(w, http.StatusOK, map[string]interface{}{"count": session.Values["count"]})
	}
}

func logout(w http.ResponseWriter, r *http.Request) {
	session := session(r)
	session.Options.MaxAge = -1
	if save(w, r, session) {
		answer(w, http.StatusOK, map[string]interface{}{"bye": true})
	}
}

func index(w http.ResponseWriter, r *http.Request) {
	session := session(r)
	seen := map[string]string{"host": r.Host}
	for name, values := range r.Header {
		seen[strings.ToLower(name)] = strings.Join(values, ",")
	}
	var user interface{}
	if id := session.Values["user"]; id != nil {
		user = map[string]interface{}{"id": id}
	}
	answer(w, http.StatusOK, map[string]interface{}{"user": user, "count": count(session), "seen": seen})
}

func main() {
	keys := [][]byte{[]byte(os.Getenv("HASH_KEY"))}
	if block := os.Getenv("BLOCK_KEY"); block != "" {
		keys = append(keys, []byte(block))
	}
	var err error
	store, err = redistore.NewRediStore(10, "tcp", "127.0.0.1:"+os.Getenv("REDIS_PORT"), "", keys...)
	if err != nil {
		log.Fatal(err)
	}
	if os.Getenv("SERIALIZER") == "json" {
		store.SetSerializer(redistore.JSONSerializer{})
	}
	http.HandleFunc("/login", login)
	http.HandleFunc("/increment", increment)
	http.HandleFunc("/logout", logout)
	http.HandleFunc("/", index)
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil))
}
