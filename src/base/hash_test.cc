// SPDX-License-Identifier: Apache-2.0
#include "base/hash.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace cacheready {
namespace {

std::span<const std::byte> Bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

// FIPS 180-4's examples.
TEST(Hash, Sha256MatchesThePublishedExamples) {
  EXPECT_EQ(Sha256Hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(Sha256Hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(Sha256Hex(std::string(1'000'000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Hash, Sha256OfPartsIsThatOfTheWhole) {
  Sha256 sha;
  sha.Add("a");
  sha.Add(std::string_view());
  sha.Add(Bytes("bc"));
  EXPECT_EQ(sha.Finish(), Sha256Of(Bytes("abc")));
}

TEST(Hash, HexIsLowerCaseAndKeepsLeadingZeros) { EXPECT_EQ(Hex(Bytes("\x0A\xFF")), "0aff"); }

TEST(Hash, Xxh3MatchesThePublishedValueOfNothing) { EXPECT_EQ(Xxh3({}), 0x2D06800538D394C2u); }

// RFC 4648, section 10.
TEST(Hash, Base64MatchesTheRfc) {
  const std::pair<std::string_view, std::string_view> examples[] = {{"", ""},
                                                                    {"f", "Zg=="},
                                                                    {"fo", "Zm8="},
                                                                    {"foo", "Zm9v"},
                                                                    {"foob", "Zm9vYg=="},
                                                                    {"fooba", "Zm9vYmE="},
                                                                    {"foobar", "Zm9vYmFy"},
                                                                    {"\xFB\xFF", "+/8="}};
  for (const auto& [plain, encoded] : examples) {
    EXPECT_EQ(Base64(Bytes(plain)), encoded);
    EXPECT_EQ(FromBase64(encoded, "row"), plain);
  }
}

TEST(Hash, Base64RefusesWhatIsNotCanonical) {
  for (const std::string_view text :
       {"Zg", "Zg=", "Z===", "====", "Zm9v\n", "Zm 9", "Zm-_", "Zg==Zg==", "Zh==", "Zm9="}) {
    EXPECT_THROW(FromBase64(text, "row"), Error) << text;
  }
}

}  // namespace
}  // namespace cacheready
