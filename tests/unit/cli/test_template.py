"""Formats in Go's template language, as Docker's users write them."""

from __future__ import annotations

import pytest

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


def test_bytes_that_are_no_utf8_do_not_make_broken_json() -> None:
    assert Template("{{json .}}").render({"Path": "/a\udcff"}) == '{"Path":"/a\ufffd"}'
