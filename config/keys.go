package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// A Key is one setting, for those who print or offer them.
type Key struct {
	Name     string   // in the file
	Kind     string   // "text", "switch", "number", "size", "size or percentage" or "list"
	Default  string   // as it would be written in a flag
	One      []string // what is allowed, when it is one of a few
	Min, Max string   // of numbers and sizes
	Doc      string
	List     bool // can be given several times as a flag
}

// Flag is the key's name as a flag, without the dashes.
func (k Key) Flag() string { return strings.ReplaceAll(k.Name, "_", "-") }

// Env is the key's environment variable.
func (k Key) Env() string { return EnvPrefix + strings.ToUpper(k.Name) }

// Keys lists the machine's keys in the order of Config.
func Keys() []Key {
	var keys []Key
	t := reflect.TypeFor[Config]()
	for i := range t.NumField() {
		if k, ok := keyOf(t.Field(i)); ok {
			keys = append(keys, k)
		}
	}
	return keys
}

var kinds = map[reflect.Type]string{
	reflect.TypeFor[string](): "text", reflect.TypeFor[bool](): "switch", reflect.TypeFor[int](): "number",
	reflect.TypeFor[Size](): "size", reflect.TypeFor[Room](): "size or percentage", reflect.TypeFor[[]string](): "list", reflect.TypeFor[Networks](): "list", reflect.TypeFor[Paths](): "list of absolute paths",
	reflect.TypeFor[Texts](): "list",
}

func keyOf(f reflect.StructField) (Key, bool) {
	name, ok := f.Tag.Lookup("key")
	if !ok {
		return Key{}, false
	}
	kind := kinds[f.Type]
	return Key{
		Name: name, Kind: kind, List: kind == "list", Default: f.Tag.Get("def"), One: strings.Fields(f.Tag.Get("one")),
		Min: f.Tag.Get("min"), Max: f.Tag.Get("max"), Doc: f.Tag.Get("doc"),
	}, true
}

// AddFlags makes a flag of each of the machine's keys. What is given wins over
// environment and file: FlagValues collects it.
func AddFlags(fs *pflag.FlagSet) {
	for _, k := range Keys() {
		usage, _, _ := strings.Cut(k.Doc, ". ")
		usage = strings.TrimSuffix(usage, ".")
		switch k.Kind {
		case "list":
			fs.StringArray(k.Flag(), nil, usage)
		case "switch":
			fs.Bool(k.Flag(), false, usage)
		default:
			fs.String(k.Flag(), "", usage)
		}
	}
}

// FlagValues collects the flags of AddFlags that were given, for Input.Flags.
func FlagValues(fs *pflag.FlagSet) map[string][]string {
	given := map[string][]string{}
	for _, k := range Keys() {
		f := fs.Lookup(k.Flag())
		if f == nil || !f.Changed {
			continue
		}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			given[k.Name] = list.GetSlice()
			continue
		}
		given[k.Name] = []string{f.Value.String()}
	}
	return given
}

// Reference is docs/config.md.
func Reference() string {
	var b strings.Builder
	b.WriteString(`# Settings

<!-- Printed from config/ by the tests of that package; change it there. -->

The machine's settings stand in a TOML file: the one that ` + "`--config`" + ` or ` + "`" + fileEnv + "`" + ` names, else
` + "`" + DefaultFile + "`" + ` if it is there. nestbox never writes it. Each key can also be an
environment variable (` + "`max_message`" + ` is ` + "`NESTBOX_MAX_MESSAGE`" + `) or a flag of ` + "`nestbox serve`" + ` (` + "`--max-message`" + `). A flag wins over
the environment, that over the file, that over the default. In variables, lists have blanks or commas between their members.
` + "`nestbox config check`" + ` names what is wrong, with its line.

Sizes are numbers of bytes, or have KB, MB, GB or TB after them (of 1024, 1024², 1024³, 1024⁴ bytes).

## The machine's

`)
	for _, k := range Keys() {
		writeKey(&b, k)
	}
	b.WriteString(`## The household's

These are set with ` + "`nestbox set`" + ` and kept in ` + "`system.db`" + `. One that stands in the file (or the environment) is fixed: the file wins,
and ` + "`nestbox set`" + ` and the web page show it as fixed there.

`)
	for _, k := range HouseholdKeys() {
		writeKey(&b, k)
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}

func writeKey(b *strings.Builder, k Key) {
	fmt.Fprintf(b, "### `%s`\n\n%s\n\n", k.Name, k.Doc)
	facts := []string{k.Kind}
	if len(k.One) > 0 {
		facts = append(facts, "one of `"+strings.Join(k.One, "`, `")+"`")
	}
	if k.Min != "" {
		facts = append(facts, fmt.Sprintf("from %s to %s", k.Min, k.Max))
	}
	if k.Default != "" {
		facts = append(facts, "default `"+k.Default+"`")
	}
	fmt.Fprintf(b, "%s\n\n", strings.Join(facts, "; "))
}

// ReadPaths are the files and folders that a configuration names in keys with
// the tag path: the server must be allowed to read them.
func ReadPaths(c *Config) []string { return tagged(c, "path") }

// HookPaths are the programs in keys with the tag hook, which a server runs.
func HookPaths(c *Config) []string { return tagged(c, "hook") }

// tagged are the absolute paths in the keys with a tag.
func tagged(c *Config, tag string) []string {
	var paths []string
	v := reflect.ValueOf(c).Elem()
	for i := range v.NumField() {
		if _, ok := v.Type().Field(i).Tag.Lookup(tag); !ok {
			continue
		}
		switch p := v.Field(i).Interface().(type) {
		case string:
			paths = append(paths, p)
		case Paths:
			paths = append(paths, p...)
		}
	}
	return slices.DeleteFunc(paths, func(p string) bool { return !strings.HasPrefix(p, "/") })
}
