<?php
// A session with PHP's imap (c-client): HOST PORT TLSPORT USER PASSWORD. With
// STARTTLS it offers TLS 1.0 and nothing else, which nestbox does not speak.
[, $host, $port, $tls, $user, $password] = $argv;
$ref = "{" . "$host:$tls/imap/ssl/novalidate-cert}";

function is($what, $got, $want) {
    if ($got != $want) {
        fwrite(STDERR, "$what: got " . var_export($got, true) . ", want " . var_export($want, true) . "\n" . implode("\n", imap_errors() ?: []) . "\n");
        exit(1);
    }
}
function must($what, $value) {
    if (!$value) {
        fwrite(STDERR, "$what failed\n" . implode("\n", imap_errors() ?: []) . "\n");
        exit(1);
    }
    return $value;
}
function text($subject, $date) {
    return "From: Ann <ann@example.org>\r\nTo: bob@example.com\r\nSubject: $subject\r\nDate: $date\r\nMessage-ID: <" . md5($subject) . "@example.org>\r\n" .
        "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"b\"\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nhello $subject\r\n" .
        "--b\r\nContent-Type: application/octet-stream; name=\"f.bin\"\r\nContent-Transfer-Encoding: base64\r\n\r\n" . base64_encode("file of $subject") . "\r\n--b--\r\n";
}

$c = must("open", imap_open($ref . "INBOX", $user, $password, 0, 1));
must("create", imap_createmailbox($c, $ref . "php box"));
$names = array_map(fn($name) => substr($name, strlen($ref)), must("list", imap_list($c, $ref, "*")));
must("the new mailbox is listed", in_array("php box", $names));
must("append", imap_append($c, $ref . "php box", text("one", "Mon, 02 Jan 2023 15:04:05 +0100"), "\\Flagged"));
must("append", imap_append($c, $ref . "php box", text("two", "Tue, 03 Jan 2023 15:04:05 +0100")));
$status = must("status", imap_status($c, $ref . "php box", SA_ALL));
is("messages", $status->messages, 2);
is("unseen", $status->unseen, 2);

must("reopen", imap_reopen($c, $ref . "php box"));
is("num_msg", imap_num_msg($c), 2);
is("text", imap_fetchheader($c, 1, FT_UID) . imap_body($c, 1, FT_UID | FT_PEEK), text("one", "Mon, 02 Jan 2023 15:04:05 +0100"));
is("part 1", imap_fetchbody($c, 2, "1", FT_PEEK), "hello two");
is("part 2", base64_decode(imap_fetchbody($c, 2, "2", FT_PEEK)), "file of two");
$s = imap_fetchstructure($c, 1);
is("parts", count($s->parts), 2);
is("name", $s->parts[1]->parameters[0]->value, "f.bin");
$over = imap_fetch_overview($c, "1:2");
is("subjects", [$over[0]->subject, $over[1]->subject], ["one", "two"]);
is("flags", [$over[0]->flagged, $over[1]->flagged, $over[0]->seen], [1, 0, 0]);
is("search", imap_search($c, 'SUBJECT "two"', SE_UID), [2]);
is("search in text", imap_search($c, 'TEXT "hello one"', SE_UID), [1]);
is("sort", imap_sort($c, SORTDATE, 1, SE_UID), [2, 1]);
is("sort by subject", imap_sort($c, SORTSUBJECT, 0, SE_UID, "ALL", "UTF-8"), [1, 2]);
must("thread", imap_thread($c, SE_UID));
must("setflag", imap_setflag_full($c, "2", "\\Seen \\Answered", ST_UID));
is("seen", imap_search($c, "SEEN", SE_UID), [2]);
must("copy", imap_mail_copy($c, "1:2", "INBOX", CP_UID));
must("move", imap_mail_move($c, "2", "INBOX", CP_UID));
must("delete", imap_delete($c, "1", FT_UID));
must("expunge", imap_expunge($c));
is("after the expunge", imap_num_msg($c), 0);
must("rename", imap_renamemailbox($c, $ref . "php box", $ref . "php 2"));
must("reopen", imap_reopen($c, $ref . "INBOX"));
is("INBOX", imap_num_msg($c), 3);
$quota = imap_get_quotaroot($c, "INBOX");
must("quotaroot", is_array($quota));
must("delete mailbox", imap_deletemailbox($c, $ref . "php 2"));
must("close", imap_close($c));

is("errors", imap_errors(), false);
