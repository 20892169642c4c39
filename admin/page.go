package admin

import (
	"crypto/sha256"
	"encoding/base64"
)

// pageStyle is the one style that a browser takes from a page of ours.
const pageStyle = `body{font:17px/1.5 system-ui,sans-serif;max-width:38em;margin:1.5em auto;padding:0 1em;color:#222;background:#fff}
h1{font-size:1.5em}h2{font-size:1.15em;margin-top:1.6em}code{font:.9em ui-monospace,monospace;overflow-wrap:anywhere}
a.get{display:inline-block;padding:.5em .9em;border-radius:.4em;background:#1d5fa8;color:#fff;text-decoration:none}
table{border-collapse:collapse}td{padding:.15em 1em .15em 0;vertical-align:top}
@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}a{color:#8bf}}`

// styleHash is how the Content-Security-Policy names it.
var styleHash = func() string {
	sum := sha256.Sum256([]byte(pageStyle))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}()
