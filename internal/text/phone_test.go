package text_test

import (
	"strings"
	"testing"

	"github.com/ordersaga/ordersaga/internal/testkit/require"
	"github.com/ordersaga/ordersaga/internal/text"
)

func TestHidePhonesInAnyNotation(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ phone, text, want string }{
		{"+49 3425 123123", "called +493425123123", "called #"},
		{"+49 3425 123123", "called +49 3425 123123, twice", "called #, twice"},
		{"+49 3425 123123", "called 0049 3425-123.123.", "called #."},
		{"+49 3425 123123", "03425 123123", "#"},
		{"+49 3425 123123", "03425/123123", "#"},
		{"+49 3425 123123", "(03425) 12 31 23 is out of service", "# is out of service"},
		{"+49 3425 123123", "(+49 3425 123123)", "(#)"},
		{"+49 3425 123123", "+49 (0) 3425 – 123 123", "#"},
		{"+49 3425 123123", "+49\u00a03425\u00a0123123", "#"},
		{"+49 3425 123123", "no. 123123", "no. #"},
		{"+49 3425 123123", "5 03425 123123 2 times, 123123", "5 # 2 times, #"},
		{"+493425123123", "+49 3425 123123", "#"},
		{"+493425123123", "called 3425.123.123 and (0)3425-123123", "called # and #"},
		{"00493425123123", "+49 3425 123123", "#"},
		{"03425 123123", "+49 3425 123123", "#"},
		{"+49 (0)3425 123123", "+493425123123", "#"},
		{"+493425123123", "+49 (0)3425 123123", "#"},
		{"+39 06 1234567", "06/1234567 or +39061234567", "# or #"},
		{"(212) 555-0100", "+1 212 555 0100, 555-0100", "#, #"},
		{"0171 123456 / 0172 654321", "+49171123456, 0172-654321", "#, #"},
		{"+49 221 471100 ext. 5", "0221471100", "#"},
		{"47-11", "called 4711", "called #"},
		// Other numbers stay.
		{"+49 3425 123123", "shp-3123123, 23123 units, 12312.30 EUR", "shp-3123123, 23123 units, 12312.30 EUR"},
		{"+49 3425 123123", "1Z999493425123123 00340434161094123123", "1Z999493425123123 00340434161094123123"},
		{"+49 3425 123123", "+49 3425 123124; 493425; 3425 at 12:31:23", "+49 3425 123124; 493425; 3425 at 12:31:23"},
		{"+49 30 000000", "1000000 units, 10000 EUR", "1000000 units, 10000 EUR"},
		{"03425 123123", "123453425123123", "123453425123123"},
		{"none", "123123", "123123"},
		{"", "123123", "123123"},
	} {
		if got := text.HidePhones(c.text, []string{c.phone}, "#"); got != c.want {
			t.Errorf("%q without the phone number %q = %q, want %q", c.text, c.phone, got, c.want)
		}
	}
	// In proportion to both together: each digit is not compared with each phone number.
	require.AtMostLinear(t, 100, func(n int) {
		text.HidePhones(strings.Repeat("1 ", 100*n), strings.Fields(strings.Repeat("+493425123123 ", n)), "#")
	})
}
