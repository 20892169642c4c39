# A session with Mail::IMAPClient: HOST PORT TLSPORT USER PASSWORD.
use strict;
use warnings;
use Mail::IMAPClient;

my ($host, $port, $tls_port, $user, $password) = @ARGV;

# TLS needs a package that libmail-imapclient-perl only recommends.
my $tls = eval { require IO::Socket::SSL; 1 };
my $c = Mail::IMAPClient->new(
    Server => $host, Port => $port, User => $user, Password => $password,
    $tls ? (Starttls => [ SSL_verify_mode => 0 ]) : (), Uid => 1, Peek => 1, Timeout => 30,
) or die "connect: $@";

# must dies with the server's words unless its argument is true.
sub must { my ($what, $value) = @_; $value or die "$what: " . ($c->LastError // "?") . "\n"; return $value }
sub is { my ($what, $got, $want) = @_; $got eq $want or die "$what: got '$got', want '$want'\n" }

# like_all dies unless each letter of want is in got.
sub like_all { my ($got, $want) = @_; index($got, $_) >= 0 or die "'$got' has no $_\n" for split //, $want }

must create => $c->create("perl box");
is exists => $c->exists("perl box") ? 1 : 0, 1;
must folders => scalar grep { $_ eq "perl box" } $c->folders;

my $text = "From: a\@example.org\r\nSubject: perl one\r\n\r\nfirst\r\n";
my $uid = must append => $c->append_string("perl box", $text, "\\Flagged", "02-Jan-2023 15:04:05 +0100");
(my $text2 = $text) =~ s/one/two/;
my $uid2 = must append => $c->append_string("perl box", $text2);
must select => $c->select("perl box");
is message_count => $c->message_count, 2;
is message_string => $c->message_string($uid), $text;
is subject => $c->subject($uid2), "perl two";
is size => $c->size($uid), length $text;
is search => join(",", $c->search("SUBJECT", $c->Quote("two"))), $uid2;
is flagged => join(",", $c->search("FLAGGED")), $uid;
is unseen => join(",", sort { $a <=> $b } $c->unseen), "$uid,$uid2";
must see => $c->see($uid2);
is seen => join(",", $c->seen), $uid2;
my $hash = must fetch_hash => scalar $c->fetch_hash("RFC822.SIZE", "INTERNALDATE", "FLAGS");
is "size by fetch_hash" => $hash->{$uid}{"RFC822.SIZE"}, length $text;
my $headers = must parse_headers => scalar $c->parse_headers([$uid, $uid2], "Subject", "From");
is "headers" => $headers->{$uid}{Subject}[0], "perl one";
my $structure = must structure => scalar $c->get_bodystructure($uid);
is "body type" => uc $structure->bodytype, "TEXT";
my $envelope = must envelope => scalar $c->get_envelope($uid);
is "envelope" => $envelope->{subject}, "perl one";

is sort => join(",", $c->sort("REVERSE SUBJECT", "UTF-8", "ALL")), "$uid2,$uid";
is "sort by arrival" => join(",", $c->sort("ARRIVAL", "US-ASCII", "FLAGGED")), $uid;
my $threads = must thread => scalar $c->thread("ORDEREDSUBJECT");
is threads => join(";", map { join ",", ref $_ ? @$_ : $_ } @$threads), "$uid;$uid2";

is myrights => (must myrights => scalar grep { /MYRIGHTS .*lrswipkxtea/ } @{ $c->myrights("perl box") }), 1;
must setacl => scalar $c->setacl("perl box", "anyone", "lr");
my $acl = must getacl => scalar $c->getacl("perl box");
is "rights of anyone" => $acl->{anyone}, "lr";
like_all(scalar $c->listrights("perl box", "anyone"), "lrswipkxtea");
must deleteacl => scalar $c->deleteacl("perl box", "anyone");
is "rights of anyone" => $c->getacl("perl box")->{anyone} // "none", "none";
must getquotaroot => scalar grep { /^\* QUOTAROOT "?perl box"? / } @{ $c->getquotaroot("perl box") };

must copy => $c->copy("INBOX", $uid);
must move => $c->move("INBOX", $uid2);
must delete_message => $c->delete_message($uid);
must expunge => $c->expunge;
is "after expunge" => $c->message_count, 0;
must close => $c->close;
is "INBOX" => $c->message_count("INBOX"), 2;
must rename => $c->rename("perl box", "perl moved");
must delete => $c->delete("perl moved");

must select => $c->select("INBOX");
my $tag = must idle => $c->idle;
my $d = Mail::IMAPClient->new(
    Server => $host, Port => $tls ? $tls_port : $port, User => $user, Password => $password,
    $tls ? (Ssl => [ SSL_verify_mode => 0 ]) : (), Timeout => 30,
) or die "connect again: $@";
$d->append_string("INBOX", $text) or die "append: " . $d->LastError;
my $news = must idle_data => scalar $c->idle_data(20);
must "news in IDLE" => scalar grep { /3 EXISTS/ } @$news;
must done => $c->done($tag);
$d->logout;
must logout => $c->logout;
