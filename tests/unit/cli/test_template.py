"""Formats in Go's template language, as Docker's users write them."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minirun.cli.template import Template
from minirun.errors import BadInput

DATA = {
    "Name": "/web",
    "Args": ["-c", "true"],
    "State": {"Status": "exited", "Running": False, "ExitCode": 3},
    "Mounts": [{"Source": "/a", "RW": True}, {"Source": "/b", "RW": False}],
    "Labels": {"b": "2", "a": "1"},
    "Entrypoint": None,
    "Empty": [],
    "Label": {"a": "1"}.get,
}


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("plain", "plain"),
        ("{{.Name}}", "/web"),
        ("{{ .State.Status }}:{{.State.ExitCode}}", "exited:3"),
        ("{{.State.Running}}", "false"),
        ("{{.Args}} {{.Labels}} {{.Entrypoint}}", "[-c true] map[a:1 b:2] <no value>"),
        (r"{{.Name}}\t{{.Name}}\n", "/web\t/web\n"),
        ("{{json .State}}", '{"Status":"exited","Running":false,"ExitCode":3}'),
        ("{{json .Entrypoint}}", "null"),
        ('{{join .Args ","}}', "-c,true"),
        ('{{join (split "a b" " ") "+"}}', "a+b"),
        ("{{index .Args 1}}", "true"),
        ('{{index .Labels "a"}}|{{index .Labels "none"}}|', "1||"),
        ("{{(index .Mounts 1).Source}}", "/b"),
        ("{{len .Mounts}}", "2"),
        ("{{upper .State.Status}} {{.Name | title | lower}}", "EXITED /web"),
        ('{{.State.Status | printf "%s is %q" .Name}}', '/web is "exited"'),
        ('{{printf "%5d|%-3s|%v%%" 42 "a" true}}', "   42|a  |true%"),
        ("{{slice .Name 1}} {{slice .Name 1 2}} {{truncate .Name 2}}", "web w /w"),
        ("{{range .Mounts}}{{.Source}};{{end}}", "/a;/b;"),
        ("{{range .Mounts}}{{if .RW}}{{.Source}}{{println}}{{end}}{{end}}", "/a\n"),
        ("{{range $name, $value := .Labels}}{{$name}}={{$value}},{{end}}", "a=1,b=2,"),
        ("{{range $mount := .Mounts}}{{$mount.Source}}{{end}}", "/a/b"),
        ("{{range $i, $x := .Args}}{{$i}}{{$x}}{{end}}", "0-c1true"),
        ("{{range .Empty}}x{{else}}none{{end}}", "none"),
        ("{{with .State}}{{.Status}} {{$.Name}}{{end}}", "exited /web"),
        ("{{with .Entrypoint}}x{{else}}none{{end}}", "none"),
        ("{{if .Empty}}a{{else if .Labels}}b{{else}}c{{end}}", "b"),
        ("{{if .Empty}}a{{else}}c{{end}}", "c"),
        ('{{if eq .State.Status "running" "exited"}}yes{{end}}', "yes"),
        ("{{if and .Name (not .Empty)}}yes{{end}}{{or .Empty .Name}}", "yes/web"),
        ("{{gt .State.ExitCode 2}} {{lt .State.ExitCode 2}} {{ne .Name .State.Status}}", "true false true"),
        ("{{$code := .State.ExitCode}}{{$code}}", "3"),
        ("a {{- .Name -}} b {{/* a comment */}}c", "a/webb c"),
        ('{{`raw "text"`}} {{"a\\tb"}}', 'raw "text" a\tb'),
        ('{{.Label "a"}}', "1"),
        ('{{"}}"}} {{"{{"}}', "}} {{"),
        ("{{ /* no comment */ -}}  a", "a"),
        ("a\n{{- range .Args}}\n  {{.}}{{end -}}\n b", "a\n  -c\n  trueb"),
        ("{{range 3}}{{.}}{{end}}", "012"),
        ('{{range .Args}}{{if eq . "true"}}{{break}}{{end}}{{.}}{{end}}', "-c"),
        ("{{range $i, $x := .Args}}{{if eq $i 0}}{{continue}}{{end}}{{$x}}{{end}}", "true"),
        ("{{$n := 0}}{{range .Args}}{{$n = len .}}{{end}}{{$n}}", "4"),
        ("{{$n := 1}}{{if true}}{{$n := 2}}{{end}}{{$n}}", "1"),
        ("{{with $s := .State}}{{$s.Status}}{{end}}", "exited"),
        ("{{with .Entrypoint}}a{{else with .State}}{{.Status}}{{end}}", "exited"),
        ("{{if $x := .Name}}{{$x}}{{end}}", "/web"),
        ("{{.State.status}} {{.name}}", "exited /web"),
        ('{{.Labels.none}} {{index .Labels "none"}}', "<no value> "),
        ("{{with .State.Health}}{{.Status}}{{else}}none{{end}}", "none"),
        ("{{if and .Entrypoint .Entrypoint.First}}a{{else}}b{{end}}", "b"),
        ("{{or .Name .Entrypoint.First}}", "/web"),
        ('{{.Empty | len | printf "%03d"}}', "000"),
        ('{{(len .Args) | eq 2}} {{eq 1.0 1}} {{ne 1 2}} {{le 2 2}} {{ge "b" "a"}}', "true true true true true"),
        ("{{eq .Entrypoint nil}}", "true"),
        ('{{title "hello-wORLD it\'s"}}', "Hello-WORLD It'S"),
        ('{{len "é"}} {{slice .Args 1}} {{index "abc" 1 | len}}', "2 [true] 1"),
        ('{{print 1 2 "a" 3 .Name}}|{{print "a" "b"}}|{{println 1 "a"}}', "1 2a3/web|ab|1 a\n"),
        ('{{printf "%v %v %s" .State.Running .Args nil}}', "false [-c true] <no value>"),
        (
            '{{printf "%x %X %o %b %c %U %+d %06.2f|%.3s|%[1]d" 255 255 8 5 65 65 3 3.14159 "abcdef"}}',
            "ff FF 10 101 A U+0041 +3 003.14|abc|255",
        ),
        ('{{printf "%x" "hi"}} {{0x1F}} {{1e3}} {{\'a\'}} {{-3}}', "6869 31 1000 97 -3"),
        ('{{html "<a b=\'c\'>&"}} {{urlquery "a b&c"}}', "&lt;a b=&#39;c&#39;&gt;&amp; a+b%26c"),
        ('{{pad .Name 1 2}}|{{join .Empty ","}}|{{split "abc" ""}}', " /web  ||[a b c]"),
        ("{{- /* trimmed */ -}}  x", "x"),
        ("{{json .Name | len}}", "6"),
        ("{{$.Name}}{{range .Mounts}}{{$.State.ExitCode}}{{end}}", "/web33"),
    ],
)
def test_a_format_is_filled_in(source: str, text: str) -> None:
    assert Template(source).render(DATA) == text


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("{{.Name", "{{ is not closed"),
        ("{{.Nome}}", "there is no field 'Nome'"),
        ("{{.State.Nome}}", "there is no field 'Nome'"),
        ("{{.Name.First}}", "there is no field 'First'"),
        ("{{nome .Name}}", "there is no function 'nome'"),
        ("{{if .Name}}", "{{if}} is without its {{end}}"),
        ("{{range .Mounts}}{{else}}", "{{range}} is without its {{end}}"),
        ("{{end}}", "{{end}} is without its beginning"),
        ("{{else}}", "{{else}} is without its beginning"),
        ("{{}}", "says nothing"),
        ("{{.Name |}}", "a value is missing"),
        ("{{if}}{{end}}", "a value is missing"),
        ("{{(.Name}}", "a parenthesis is not closed"),
        ("{{.Name)}}", "is without its beginning"),
        ("{{$none}}", "the variable $none was never set"),
        ("{{index .Args 7}}", "index cannot be used so"),
        ("{{len 3}}", "len cannot be used so"),
        ("{{upper}}", "upper cannot be used so"),
        ('{{printf "%d" .Name}}', "printf cannot be used so"),
        ('{{.Name "x"}}', ".Name is not a function"),
        ("{{range .Name}}{{end}}", "has no elements"),
        ('{{"a}}', "cannot be read"),
        ('{{"\\q"}}', "is not a string"),
        ("{{.Name ?}}", "cannot be read from '?' on"),
        ("{{/* never closed", "{{ is not closed"),
        ("{{/* one */ .Name}}", "is not alone"),
        ("{{.Name | 3}}", "'3' takes nothing from a pipe"),
        ("{{3 4}}", "3 is not a function"),
        ('{{"a" 1}}', "is not a function"),
        ("{{(.Name) 1}}", "is not a function"),
        ("{{break}}", "is outside of a {{range}}"),
        ("{{if .Name}}{{end}}{{continue}}", "is outside of a {{range}}"),
        ("{{end .Name}}", "{{end}} stands alone"),
        ("{{range $a, $b, $c := .Args}}{{end}}", "names its variables otherwise"),
        ("{{range a := .Args}}{{end}}", "names its variables otherwise"),
        ("{{x := 3}}", "x is no variable"),
        ("{{$x = 3}}", "the variable $x was never set"),
        ("{{if true}}{{$x := 1}}{{end}}{{$x}}", "the variable $x was never set"),
        ('{{define "a"}}x{{end}}', "{{define}} is not built"),
        ("{{eq .State.ExitCode .Name}}", "not of kinds that can be compared"),
        ("{{lt .Args .Args}}", "not of kinds that can be compared"),
        ("{{eq true 1}}", "not of kinds that can be compared"),
        ("{{lt true false}}", "has no order"),
        ("{{eq 1}}", "it compares two values"),
        ("{{and}}", "a value is missing"),
        ('{{printf "%d"}}', "there is no value for %d"),
        ('{{printf "%d" 1 2}}', "1 verbs for 2 values"),
        ("{{slice .Args 1 7}}", "slice cannot be used so"),
        ('{{join .Name ","}}', "it joins lists"),
        ("{{.Entrypoint.First}}", "there is no field 'First'"),
        ("{{index .Args true}}", "index cannot be used so"),
        ("{{range .Name}}{{else}}x{{end}}", "has no elements"),
    ],
)
def test_a_format_that_is_none_is_refused(source: str, reason: str) -> None:
    with pytest.raises(BadInput) as refused:
        Template(source).render(DATA)
    assert reason in refused.value.reason
    assert refused.value.remedy


def test_it_is_known_which_fields_a_format_takes() -> None:
    template = Template(
        "{{.A.B}} {{range .C}}{{.Inside}}{{$.D}}{{end}}{{with .E}}{{.Inside}}{{end}}{{if .F}}{{.G}}{{end}}"
    )
    assert template.fields == {"A", "C", "D", "E", "F", "G"}


def test_titles_are_not_changed_by_what_changes_values() -> None:
    titles = {"ID": "CONTAINER ID", "Labels": "LABELS"}
    template = Template('{{truncate .ID 4}}\t{{join .Labels ","}}\t{{json .ID}}\t{{.ID | lower}}')
    assert template.render(titles, header=True) == "CONTAINER ID\tLABELS\tCONTAINER ID\tCONTAINER ID"


def test_a_deeply_nested_format_is_refused() -> None:
    with pytest.raises(BadInput, match="nested too deeply"):
        Template("{{if .Name}}" * 5000 + "{{end}}" * 5000).render(DATA)


TOKENS = (
    "}}{{", "{{", "- ", " -", "if ", "else ", "end", "range ", "with ", "break", "$x", ":=", "=", ".Name", ".Args", ".",
    ".State.Status", " | ", "(", ")", " ", '"a"', "'b'", "`c`", "3", "-1.5", "eq ", "len ", "index ", "printf ",
    "slice ", '"%d%s"', "json ",
    "and ", "or ", "not ", "nil", "true", "join ", "lt ", "pad ", "/*", "*/", "\n", "truncate ",
)  # fmt: skip


@settings(max_examples=500)
@given(st.lists(st.sampled_from(TOKENS), max_size=9).map("".join))
def test_whatever_is_given_is_filled_in_or_refused(inner: str) -> None:
    with suppress(BadInput):
        assert isinstance(Template(f"{{{{{inner}}}}}").render(DATA), str)


def test_bytes_that_are_no_utf8_do_not_make_broken_json() -> None:
    assert Template("{{json .}}").render({"Path": "/a\udcff"}) == '{"Path":"/a\ufffd"}'
