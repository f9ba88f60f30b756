#include "clean/lexicon.h"

#include <algorithm>

#include "base/error.h"
#include "io/input.h"
#include "io/json_scan.h"
#include "text/units.h"

namespace ds {

// clang-format off
// Each entry has hardly any innocent use: not in English prose (a chink in the armour, Maine coon, honky-tonk, spic and
// span), nor as a word of a language that a crawl is full of (Dutch "hoe", Swedish "slut", Danish "fag", French
// "retard", the Spanish name Kike). Ambiguous words are left to --lexicon.
static constexpr std::string_view english[] = {
    "arsehole", "arseholes", "assclown", "asshat", "asshats", "asshole", "assholes", "asswipe", "asswipes",
    "ballsack", "bastards", "beaners", "beotch", "biatch", "bitch", "bitchass", "bitches", "bitchin", "bitching",
    "bitchy", "bullshit", "bullshitter", "bullshitting", "bumfuck", "camel jockey", "camel jockeys", "clusterfuck",
    "cockface", "cocksucker", "cocksuckers", "cocksucking", "cuck", "cucks", "cum dumpster", "cumdumpster", "cunt",
    "cunts", "cunty", "darkies", "dickface", "dickhead", "dickheads", "dickwad", "dickwads", "dipshit", "dipshits",
    "douchebag", "douchebags", "dumb fuck", "dumbass", "dumbasses", "dumbfuck", "dumbfucks", "dumbshit", "eat a dick",
    "eat shit", "faggot", "faggots", "faggy", "fatass", "fuck", "fucked", "fucken", "fucker", "fuckers", "fuckface",
    "fuckhead", "fuckheads", "fuckin", "fucking", "fucks", "fucktard", "fucktards", "fuckup", "fuckwit", "fuckwits",
    "fugly", "go kill yourself", "goatfucker", "gooks", "gtfo", "hoes", "horseshit", "jackoff", "jerkoff", "jigaboo",
    "jigaboos", "jizz", "kikes", "knobhead", "knobheads", "libtard", "libtards", "mofo", "mofos", "mothafucka",
    "mothafuckin", "motherfuck", "motherfucka", "motherfucker", "motherfuckers", "motherfuckin", "motherfucking",
    "muhfucka", "muthafucka", "muthafuckin", "nigga", "niggah", "niggahs", "niggas", "niggaz", "nigger", "niggers",
    "nigguh", "nutsack", "pakis", "pickaninny", "piss off", "pisshead", "porch monkey", "porch monkeys", "pussies",
    "pussy", "pussyass", "raghead", "ragheads", "sandnigger", "sandniggers", "scumbag", "scumbags", "shit", "shitbag",
    "shitbags", "shitface", "shitfaced", "shithead", "shitheads", "shithole", "shitholes", "shits", "shitstain",
    "shitty", "skanks", "skanky", "sluts", "slutty", "spics", "stfu", "suck a dick", "suck my cock", "suck my dick",
    "towel head", "towel heads", "towelhead", "towelheads", "twat", "twats", "wanker", "wankers", "wetback",
    "wetbacks", "white trash", "whore", "whores", "zipperhead",
};

// Entries match inside longer runs of characters, so none may arise where two innocent words meet: 二逼 stands in
// 第二逼近, 日你妈 in 生日你妈妈, 脑残 in 大脑残留. Words that medicine or zoology uses (智障, 杂种, 畜生) are left out
// too.
static constexpr std::string_view chinese[] = {
    "他妈的", "他媽的", "操你妈", "操你媽", "肏", "屄", "艹你妈", "艹你媽", "操你大爷", "操你祖宗", "操你全家",
    "操蛋", "操逼", "去你妈的", "去你媽的", "滚你妈的", "滾你媽的", "你妈了个逼", "你媽了個逼", "妈了个逼",
    "媽了個逼", "妈了个巴子", "干你娘", "幹你娘", "幹你媽", "干你老母", "幹你老母", "屌你老母", "叼你老母",
    "日你先人", "傻逼", "傻b", "傻叉", "傻吊", "傻屌", "煞逼", "贱逼", "賤逼", "骚逼", "騷逼", "臭逼", "鸡巴",
    "雞巴", "机掰", "機掰", "雞掰", "婊", "贱人", "賤人", "贱货", "賤貨", "骚货", "騷貨", "烂货", "爛貨", "死三八",
    "臭三八", "王八蛋", "王八羔子", "龟孙子", "龜孫子", "混蛋", "混账东西", "混帳東西", "狗日的", "狗杂种",
    "狗雜種", "狗娘养的", "狗娘養的", "狗东西", "狗東西", "小杂种", "小雜種", "野杂种", "野雜種", "蠢货", "蠢貨",
    "蠢驴", "蠢驢", "脑残粉", "腦殘粉", "死脑残", "死腦殘", "人渣", "臭不要脸", "臭不要臉", "老不死的", "去死吧",
    "不得好死", "死全家", "全家死光", "断子绝孙", "斷子絕孫", "滚犊子", "滾犢子", "吃屎去", "仆街", "扑街仔",
    "撲街", "冚家铲", "冚家鏟", "冚家富贵", "含家铲", "黑鬼", "支那猪", "支那豬", "印度阿三", "高丽棒子",
    "高麗棒子", "台巴子", "死基佬", "死人妖", "死变态", "死變態", "娘炮", "死肥猪", "死肥豬",
};
// clang-format on

bool Lexicon::add(std::string_view entry) {
  const auto units = unit_hashes(entry);
  if (units.empty()) return false;
  ++entries_;
  const auto next_group = static_cast<uint32_t>(groups_.size());
  if (!group_of_.find(units.front())) {
    group_of_[units.front()] = next_group;
    groups_.emplace_back();
    note_first(units.front());
  }
  std::vector<Entry>& group = groups_[*group_of_.find(units.front())];
  const Entry added{static_cast<uint32_t>(rest_.size()), static_cast<uint32_t>(units.size() - 1)};
  rest_.insert(rest_.end(), units.begin() + 1, units.end());
  group.insert(std::find_if(group.begin(), group.end(), [&](const Entry& e) { return e.size < added.size; }), added);
  return true;
}

// Keeps the filter at 16 bits or more for each first unit, so that it lets few others through.
void Lexicon::note_first(uint64_t unit) {
  const auto set = [&](uint64_t first) { filter_[first >> 6 & (filter_.size() - 1)] |= uint64_t{1} << (first & 63); };
  if (groups_.size() * 16 > filter_.size() * 64) {
    filter_.assign(filter_.size() * 2, 0);
    group_of_.for_each([&](uint64_t first, uint32_t) { set(first); });
  }
  set(unit);
}

size_t Lexicon::longest_match(std::span<const uint64_t> units) const {
  const uint32_t* group = group_of_.find(units.front());
  if (!group) return 0;
  for (const Entry& entry : groups_[*group]) {
    if (entry.size >= units.size()) continue;
    if (std::equal(units.begin() + 1, units.begin() + 1 + entry.size, rest_.begin() + entry.begin))
      return entry.size + size_t{1};
  }
  return 0;
}

size_t Lexicon::covered(std::span<const uint64_t> units) const {
  size_t found = 0;
  for (size_t i = 0; i < units.size();) {
    const size_t matched = may_begin(units[i]) ? longest_match(units.subspan(i)) : 0;
    found += matched;
    i += std::max<size_t>(matched, 1);
  }
  return found;
}

Lexicon builtin_lexicon() {
  Lexicon lexicon;
  for (const std::string_view entry : english) lexicon.add(entry);
  for (const std::string_view entry : chinese) lexicon.add(entry);
  return lexicon;
}

Lexicon read_lexicon(const std::string& path) {
  Lexicon lexicon;
  LineReader lines({path}, size_t{1} << 20);
  for (Line line; lines.next(line);) {
    require(valid_utf8(line.text), path, ":", line.number, ": not UTF-8, expected a word or phrase");
    if (!line.text.starts_with('#')) lexicon.add(line.text);
  }
  require(!lexicon.empty(), path, ": the lexicon has no words");
  return lexicon;
}

double lexicon_share(std::span<const uint64_t> units, const Lexicon& lexicon) {
  if (units.empty()) return 0;
  return static_cast<double>(lexicon.covered(units)) / static_cast<double>(units.size());
}

double lexicon_share(std::string_view text, std::span<const uint64_t> word_hashes, const Lexicon& lexicon) {
  if (!may_have_cjk(text)) return lexicon_share(word_hashes, lexicon);
  return lexicon_share(unit_hashes(text), lexicon);
}

}  // namespace ds
