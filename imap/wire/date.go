package wire

import "time"

const months = "JanFebMarAprMayJunJulAugSepOctNovDec"

// Date reads date, quoted or not, as the beginning of that day in UTC: keys
// that take a date disregard time and zone (RFC 9051 §6.4.4).
func (d *Decoder) Date() time.Time {
	if !d.ready() {
		return time.Time{}
	}
	quoted := d.TryByte('"')
	start := d.offset()
	day := d.digits(1, 2)
	year, month := d.monthYear()
	if d.err == nil && !validDay(year, month, day) {
		d.failAt(start, "date")
	}
	if quoted {
		d.Byte('"')
	}
	if d.err != nil {
		return time.Time{}
	}
	return time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
}

// DateTime reads date-time, `"17-Jul-1996 02:44:25 -0700"`.
func (d *Decoder) DateTime() time.Time {
	if !d.ready() {
		return time.Time{}
	}
	start := d.offset()
	d.Byte('"')
	least := 2
	if d.TryByte(' ') { // date-day-fixed
		least = 1
	}
	day := d.digits(least, least)
	year, month := d.monthYear()
	d.Byte(' ')
	hour := d.digits(2, 2)
	d.Byte(':')
	minute := d.digits(2, 2)
	d.Byte(':')
	second := d.digits(2, 2)
	d.Byte(' ')
	sign := 1
	if d.TryByte('-') {
		sign = -1
	} else {
		d.Byte('+')
	}
	zone := d.digits(4, 4)
	d.Byte('"')
	if d.err != nil {
		return time.Time{}
	}
	// 60 is a leap second (RFC 5322 §3.3).
	if !validDay(year, month, day) || hour > 23 || minute > 59 || second > 60 || zone/100 > 23 || zone%100 > 59 {
		d.failAt(start, "date-time")
		return time.Time{}
	}
	offset := sign * (zone/100*3600 + zone%100*60)
	location := time.UTC
	if offset != 0 {
		location = time.FixedZone("", offset)
	}
	return time.Date(year, month, day, hour, minute, second, 0, location)
}

// monthYear reads "-" date-month "-" date-year.
func (d *Decoder) monthYear() (int, time.Month) {
	d.Byte('-')
	month := d.month()
	d.Byte('-')
	return d.digits(4, 4), month
}

func (d *Decoder) month() time.Month {
	if d.err != nil {
		return 0
	}
	if len(d.seg)-d.pos >= 3 {
		for m := range 12 {
			if equalFold(d.seg[d.pos:d.pos+3], months[3*m:3*m+3]) {
				d.pos += 3
				return time.Month(m + 1)
			}
		}
	}
	d.Fail("date-month")
	return 0
}

// digits reads a number of least to most digits.
func (d *Decoder) digits(least, most int) int {
	if d.err != nil {
		return 0
	}
	n, i := 0, d.pos
	for i < len(d.seg) && i-d.pos < most && isDigit(d.seg[i]) {
		n = 10*n + int(d.seg[i]-'0')
		i++
	}
	if i-d.pos < least {
		d.pos = i
		d.Fail("DIGIT")
		return 0
	}
	d.pos = i
	return n
}

func validDay(year int, month time.Month, day int) bool {
	t := time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
	return day > 0 && t.Day() == day
}

// AppendDateTime appends date-time with its quotes. Years beyond the four
// digits of date-year become the nearest that there is.
func AppendDateTime(b []byte, t time.Time) []byte {
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	_, zone := t.Zone()
	b = append(b, '"')
	if day < 10 {
		b = append(b, ' ', byte('0'+day))
	} else {
		b = appendTwo(b, day)
	}
	b = append(b, '-')
	b = append(b, months[3*(month-1):3*month]...)
	b = append(b, '-')
	year = min(max(year, 0), 9999)
	b = appendTwo(b, year/100)
	b = appendTwo(b, year%100)
	b = append(b, ' ')
	b = appendTwo(b, hour)
	b = append(b, ':')
	b = appendTwo(b, minute)
	b = append(b, ':')
	b = appendTwo(b, second)
	b = append(b, ' ')
	if zone < 0 {
		b = append(b, '-')
		zone = -zone
	} else {
		b = append(b, '+')
	}
	b = appendTwo(b, zone/3600%100)
	b = appendTwo(b, zone/60%60)
	return append(b, '"')
}

func appendTwo(b []byte, n int) []byte { return append(b, byte('0'+n/10), byte('0'+n%10)) }
