#include <doctest/doctest.h>

#include <cmath>

#include "apps/numbers.h"
#include "apps/spelling.h"
#include "apps/table.h"
#include "apps/text_width.h"

using namespace branchsae::apps;

TEST_CASE("counts are read as people write them") {
  CHECK(parse_count("4096") == 4096);
  CHECK(parse_count("20M") == 20'000'000);
  CHECK(parse_count("1.5k") == 1500);
  CHECK(parse_count("3e6") == 3'000'000);
  CHECK(parse_count("-1") == -1);
  CHECK(parse_count("9223372036854775807") == INT64_MAX);
  for (const char* bad :
       {"", "k", "1.5", "1.0001k", "20X", "20 M x", "1e40", "nan", "inf", "0x10", "99999999999999999999"}) {
    CAPTURE(bad);
    CHECK_FALSE(parse_count(bad).has_value());
  }
}

TEST_CASE("sizes and times have units") {
  CHECK(parse_bytes("8GiB") == int64_t{8} << 30);
  CHECK(parse_bytes("512M") == 512'000'000);
  CHECK(parse_bytes("1.5 KiB") == 1536);
  CHECK_FALSE(parse_bytes("8 apples").has_value());
  CHECK(parse_seconds("5min") == 300.0);
  CHECK(parse_seconds("1.5h") == 5400.0);
  CHECK_FALSE(parse_seconds("5").has_value());
  CHECK(parse_bool("Yes") == true);
  CHECK(parse_bool("0") == false);
  CHECK_FALSE(parse_bool("2").has_value());
}

TEST_CASE("numbers are shown in few digits") {
  CHECK(with_separators(0) == "0");
  CHECK(with_separators(999) == "999");
  CHECK(with_separators(1000) == "1,000");
  CHECK(with_separators(-123456) == "-123,456");
  CHECK(with_separators(1234567) == "1,234,567");
  CHECK(with_prefix(152340) == "152 k");
  CHECK(with_prefix(1.2e6) == "1.20 M");
  CHECK(as_bytes(1536) == "1.5 KiB");
  CHECK(as_duration(59.4) == "59 s");
  CHECK(as_duration(125) == "2 min 05 s");
  CHECK(as_duration(4800) == "1 h 20 min");
  CHECK(as_figure(0.01834) == "0.01834");
  CHECK(as_figure(0.0002, 3) == "0.000200");
  CHECK(as_figure(12.345) == "12.35");
  CHECK(as_figure(0) == "0");
  CHECK(as_figure(123456.7) == "123457");
  CHECK(as_figure(3e-7) == "3.000e-07");
  CHECK(as_figure(std::nan("")) == "nan");
}

TEST_CASE("width counts columns, not bytes") {
  CHECK(display_width("abc") == 3);
  CHECK(display_width("Zürich") == 6);
  CHECK(display_width("猫") == 2);
  CHECK(display_width("e\u0301") == 1);
  CHECK(display_width("\xff\xfe") == 2);
  CHECK(display_width("\xe7\x8c") == 2);  // cut off in the middle of a character
}

TEST_CASE("what is printed stays on one line and is UTF-8") {
  CHECK(printable("a\nb\x1b[31m") == "a?b?[31m");
  CHECK(printable("Zürich 猫") == "Zürich 猫");
  CHECK(printable("x\xffy") == "x?y");
  CHECK(printable("\xc0\xaf") == "??");         // overlong
  CHECK(printable("\xed\xa0\x80") == "???");    // surrogate
  CHECK(printable("a\xe2\x80\xa8z") == "a?z");  // line separator
}

TEST_CASE("a table lines up") {
  Table table({{"name"}, {"value", Table::Align::kRight}, {"rest"}});
  table.row({"猫", "1", "x"});
  table.row({"Zürich", "1,000"});
  CHECK(table.text() ==
        "name    value  rest\n"
        "------  -----  ----\n"
        "猫          1  x\n"
        "Zürich  1,000\n");
}

TEST_CASE("near words are suggested, far ones are not") {
  const std::vector<std::string> commands = {"inspect", "train", "eval"};
  CHECK(nearest("trian", commands) == "train");
  CHECK(nearest("inspct", commands) == "inspect");
  CHECK(nearest("umbrella", commands).empty());
  CHECK(nearest("", commands).empty());
  CHECK(suggestion("evla", commands) == "; did you mean 'eval'?");
}
