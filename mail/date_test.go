package mail

import (
	netmail "net/mail"
	"regexp"
	"testing"
	"time"
)

func TestParseDate(t *testing.T) {
	for in, want := range map[string]string{
		// RFC 5322 appendix A
		"Fri, 21 Nov 1997 09:55:06 -0600": "1997-11-21T09:55:06-06:00",
		"Thu,\r\n      13\r\n        Feb\r\n          1969\r\n      23:32\r\n               -0330 (Newfoundland Time)": "1969-02-13T23:32:00-03:30",
		"21 Nov 97 09:55:06 GMT":                          "1997-11-21T09:55:06Z",
		"Fri, 21 Nov 1997 09(comment):   55  :  06 -0600": "1997-11-21T00:00:00Z", // the time is lost
		// RFC 5322 §4.3
		"1 Jan 49 00:00 EST":              "2049-01-01T00:00:00-05:00",
		"1 Jan 50 00:00 PDT":              "1950-01-01T00:00:00-07:00",
		"1 Jan 102 00:00 X":               "2002-01-01T00:00:00Z",
		"Sat, 31 Dec 2016 23:59:60 +0000": "2017-01-01T00:00:00Z",
		// what programs write
		"Mon Jan  2 15:04:05 2006":                      "2006-01-02T15:04:05Z",
		"Mon Jan  2 15:04:05 CEST 2006":                 "2006-01-02T15:04:05+02:00",
		"Mon, 2-Jan-2006 15:04:05 MST":                  "2006-01-02T15:04:05-07:00",
		"02-Jan-06 15:04":                               "2006-01-02T15:04:00Z",
		"2006-01-02T15:04:05Z":                          "2006-01-02T15:04:05Z",
		"2006-01-02T15:04:05.123+05:30":                 "2006-01-02T15:04:05+05:30",
		"2006-01-02 15:04:05":                           "2006-01-02T15:04:05Z",
		"2002/09/14 Sat 02:29:32 CDT":                   "2002-09-14T02:29:32-05:00",
		"06 Jul 01 8:00:34 PM":                          "2001-07-06T20:00:34Z",
		"29 Jul 01 12:34:44 AM":                         "2001-07-29T00:34:44Z",
		"Mon, 22 Jul 2002 0:4:2 +-0500":                 "2002-07-22T00:04:02-05:00",
		"Fri, 02 Aug 2002 23:37:59 0530":                "2002-08-02T23:37:59+05:30",
		"Sun, 25 Aug 2002 19:21:44 01800":               "2002-08-25T19:21:44Z",
		"Fri, 26 Apr 02 16:27:53 Eastern Daylight Time": "2002-04-26T16:27:53Z",
		"Wed,29 May 2002 17:51:47 +0800":                "2002-05-29T17:51:47+08:00",
		"Tue, 1 July 2003 10:52:37 +0200 (CEST)":        "2003-07-01T10:52:37+02:00",
		"Tue, 1 Jul 2003 10:52:37 GMT+0200":             "2003-07-01T10:52:37+02:00",
		"Tue, 1 Jul 2003":                               "2003-07-01T00:00:00Z",
		"Tue, 1 Jul 2003 10:52:37 -0000":                "2003-07-01T10:52:37Z",
		"1 Jan 2003 24:00 -0100":                        "2003-01-01T00:00:00-01:00",
		"1 Jan 2003 10:60":                              "2003-01-01T00:00:00Z",
		"1 Jan 2003 0:00 +0060":                         "2003-01-01T00:00:00Z",
		// none at all
		"": "", "x": "", "Tue": "", "31 Feb 2003 00:00": "", "0 Jan 2003 00:00": "", "Jan 2003": "",
		"1 2 3 4 5": "", "2006-13-01": "", "2006-00-01": "", "99999999999999999999 Jan 1": "", "(1 Jan 2003": "", "----": "", ",,,": "", "1-2-3": "", "2006-01": "",
		"Sat, 02 Feb 0102 23:26:17 +0200": "", "31 Dec 1899 00:00": "",
	} {
		got := ""
		if d, ok := ParseDate(in); ok {
			got = d.Format(time.RFC3339)
		}
		if got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// fullZone is a zone as RFC 5322 §3.3 has it. What others are net/mail guesses
// in its own way.
var fullZone = regexp.MustCompile(`[+-]\d\d[0-5]\d($|[ \t(])`)

// What net/mail understands means the same here.
func FuzzParseDate(f *testing.F) {
	f.Add("Fri, 21 Nov 1997 09:55:06 -0600")
	f.Add("1 Jan 50 00:00 (x) PDT")
	f.Add("2006-01-02T15:04:05.123+05:30")
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := ParseDate(s)
		want, err := netmail.ParseDate(s)
		if err != nil || want.Year() <= 1900 || !fullZone.MatchString(s) {
			return
		}
		_, zone := want.Zone() // a zone by name may be that of this machine
		if !ok || zone != 0 && !got.Equal(want) {
			t.Errorf("%q: %v %v, want %v", s, got, ok, want)
		}
	})
}
