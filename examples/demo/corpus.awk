# corpus.awk: reads a list of files, writes their text as JSONL {"id", "text", "source"} in pieces of 4 to 8 KB that end
# where a paragraph ends. Variables: kind (man, html, doc, info, changelog, copyright, license).
# Works on bytes (LC_ALL=C); what is not UTF-8 in the end, corpus.sh takes out.

BEGIN {
  soft = 4000      # a piece ends with the paragraph that brings it to this many bytes,
  hard = 8000      # and before a line that would bring it above these
  most = 40        # pieces of one file
  if (kind == "doc") most = 15        # some are tables without an end
  if (kind == "changelog") most = 3   # the newest entries
}

{ convert($0) }

function convert(path,    command, quoted) {
  piece = ""; pieces = 0; name = path; blank = 0
  quoted = path
  gsub(/'/, "'\\''", quoted)
  if (kind == "man") {
    command = "mandoc -T ascii -O width=78 '" quoted "' 2>/dev/null"
    read_man(command)
  } else if (kind == "html") {
    read_html(path)
  } else {
    command = path ~ /\.gz$/ ? "gzip -dc '" quoted "' 2>/dev/null" : "cat '" quoted "'"
    read_plain(command)
  }
  close(command)
  flush()
}

# Rendered pages: overstriking is taken out, so are the page's first and last line and the common indentation.
function read_man(command,    line, first) {
  first = 1
  while ((command | getline line) > 0) {
    gsub(/.\010/, "", line)
    if (first) { first = 0; continue }
    if (line ~ /^[^ ].*   .*   / || line ~ /^                    .*\([0-9][a-z]*\)$/) continue
    sub(/^ ? ? ? ? ?/, "", line)
    add(line)
  }
}

function read_plain(command,    line) {
  while ((command | getline line) > 0) {
    if (kind == "info" && line ~ /^(\037|File: |\177)/) { add(""); continue }
    add(line)
  }
}

# HTML in one pass over "tag>text" pieces. White space is collapsed outside <pre>; navigation, scripts and heads are left out.
function read_html(path,    rs, chunk, end, tag, text, closing, element, ignored, depth, skip, pre, line, n, i, lines) {
  rs = RS; RS = "<"
  depth = 0; skip = 0; pre = 0; line = ""; ignored = ""
  while ((getline chunk < path) > 0) {
    end = index(chunk, ">")
    if (!end) continue
    tag = substr(chunk, 1, end - 1)
    text = substr(chunk, end + 1)
    closing = substr(tag, 1, 1) == "/"
    element = tolower(closing ? substr(tag, 2) : tag)
    sub(/[^a-z0-9].*/, "", element)
    if (ignored != "") {
      if (!closing || element != ignored) continue
      ignored = ""
    } else if (!closing && element ~ /^(script|style|head|nav|footer|svg)$/) {
      ignored = element
      continue
    }
    if (element == "div") {
      if (closing) { if (skip && depth == skip) skip = 0; depth-- }
      else { depth++; if (!skip && tag ~ /class="(related|sphinxsidebar|footer|navheader|navfooter|clearer)/) skip = depth }
    }
    if (skip) continue
    if (element == "pre") {
      if (line != "") { add(line); line = "" }
      add(""); pre = !closing
    } else if (element ~ /^(p|div|h[1-6]|ul|ol|dl|table|section|blockquote|article|hr)$/) {
      if (line != "") { add(line); line = "" }
      if (element != "div") add("")
    } else if (element ~ /^(li|dt|dd|tr|br)$/) {
      if (line != "") { add(line); line = "" }
    }
    if (text == "") continue
    if (index(text, "&")) text = entities(text)
    gsub(/\302\266/, "", text)   # the pilcrow of a heading's link
    if (pre) {
      n = split(text, lines, "\n")
      for (i = 1; i < n; i++) { add(line lines[i]); line = "" }
      line = line lines[n]
    } else {
      gsub(/[ \t\r\n]+/, " ", text)
      if (line == "") sub(/^ /, "", text)
      line = line text
    }
  }
  if (line != "") add(line)
  close(path); RS = rs
}

function entities(text) {
  gsub(/&lt;/, "<", text); gsub(/&gt;/, ">", text); gsub(/&quot;|&#34;/, "\"", text)
  gsub(/&#39;|&#8217;|&rsquo;|&#x27;/, "'", text); gsub(/&nbsp;|&#160;/, " ", text)
  gsub(/&#8220;|&#8221;|&ldquo;|&rdquo;/, "\"", text); gsub(/&#8212;|&mdash;/, "\342\200\224", text)
  gsub(/&#[0-9a-fA-Fx]+;|&[a-z]+acute;/, "", text); gsub(/&amp;/, "\\&", text)
  return text
}

# One line of the text; runs of empty lines count as one.
function add(line) {
  if (pieces >= most) return
  gsub(/[\001-\010\013-\037\177]/, "", line)
  sub(/[ \t]+$/, "", line)
  if (line == "") {
    if (blank || piece == "") return
    blank = 1
    if (length(piece) >= soft) { flush(); return }
    piece = piece "\n"
    return
  }
  if (length(piece) + length(line) >= hard) flush()
  blank = 0
  piece = piece line "\n"
}

function flush(    id) {
  if (pieces >= most) { piece = ""; return }
  sub(/\n+$/, "\n", piece)
  blank = 0
  if (length(piece) < 200) { piece = ""; return }
  pieces++
  id = name
  sub(/^\/usr\/share\//, "", id)
  printf "{\"id\": \"%s:%d\", \"text\": \"%s\", \"source\": \"%s\"}\n", quote(id), pieces, quote(piece), kind
  piece = ""
}

function quote(text) {
  gsub(/\\/, "&&", text); gsub(/"/, "\\\"", text); gsub(/\n/, "\\n", text); gsub(/\t/, "\\t", text)
  return text
}
