#include "clean/pii/pii.h"

#include <gtest/gtest.h>

#include <string>

#include "base/rng.h"
#include "clean/pii/finds.h"
#include "clean/pii/pii_find.h"

namespace ds {
namespace {

// Published vectors: the test numbers of payment services, and ISO/IEC 7812-1.
TEST(PiiCard, Luhn) {
  for (const char* number : {"4111111111111111", "5555555555554444", "378282246310005", "6011111111111117",
                             "30569309025904", "3530111333300000", "4222222222222", "79927398713", "0"})
    EXPECT_TRUE(pii::luhn(number)) << number;
  for (const char* number : {"4111111111111112", "79927398710", "5555555555554440", "", "1"})
    EXPECT_FALSE(pii::luhn(number)) << number;
  // Exactly one of ten last digits fits, and no exchange of two different neighbours but 09 and 90 goes unseen.
  const Rng rng{5, 0};
  for (uint64_t i = 0; i < 500; ++i) {
    std::string number;
    for (uint64_t k = 0; k < 15; ++k) number += static_cast<char>('0' + rng.below(i * 16 + k, 10));
    int fit = 0;
    std::string valid;
    for (char last = '0'; last <= '9'; ++last)
      if (pii::luhn(number + last)) ++fit, valid = number + last;
    EXPECT_EQ(fit, 1);
    for (size_t k = 0; k + 1 < valid.size(); ++k) {
      std::string swapped = valid;
      std::swap(swapped[k], swapped[k + 1]);
      const bool blind = (valid[k] == '0' && valid[k + 1] == '9') || (valid[k] == '9' && valid[k + 1] == '0');
      EXPECT_EQ(pii::luhn(swapped), blind || valid[k] == valid[k + 1]) << valid << " " << k;
    }
  }
}

TEST(PiiCard, NumbersAreFound) {
  expect_found(PiiKind::card, {
                                  {"4111 1111 1111 1111", "4111 1111 1111 1111"},
                                  {"4111-1111-1111-1111", "4111-1111-1111-1111"},
                                  {"card 4111111111111111.", "4111111111111111"},
                                  {"5555 5555 5555 4444", "5555 5555 5555 4444"},
                                  {"2223003122003222", "2223003122003222"},
                                  {"378282246310005", "378282246310005"},
                                  {"3782 822463 10005", "3782 822463 10005"},
                                  {"6011111111111117", "6011111111111117"},
                                  {"3056 930902 5904", "3056 930902 5904"},
                                  {"30569309025904", "30569309025904"},
                                  {"3530111333300000", "3530111333300000"},
                                  {"6200000000000005", "6200000000000005"},
                                  {"4222222222222", "4222222222222"},
                                  {"4000 0566 5566 5556 12/34", "4000 0566 5566 5556"},
                                  {"4111 1111 1111 1111 123", "4111 1111 1111 1111"},
                                  {"6759649826438453", "6759649826438453"},
                                  {"\u5361\u53F74111111111111111\u3002", "4111111111111111"},
                                  {"(5105105105105100)", "5105105105105100"},
                              });
}

TEST(PiiCard, OtherNumbersAreNot) {
  expect_none(PiiKind::card,
              {"4111 1111 1111 1112",  "4111111111111112",     "411111111111111",          "41111111111111111",
               "1234567812345670",     "0000000000000000",     "9111111111111111",         "4111 1111 11111111",
               "4111 1111-1111 1111",  "41 1111 1111 1111 11", "4111 1111 1111 1111 4111", "4111 4111 1111 1111 1111",
               "0.4111111111111111",   "4111111111111111.5",   "x4111111111111111",        "4111111111111111x",
               "4111111111111111-1",   "1-4111111111111111",   "$4111111111111111",        "12,4111111111111111",
               "4111  1111 1111 1111", "4111\n1111 1111 1111", "37828224631000",           "5555555555554444444",
               "+4111111111111111"});
}

// The examples of the registry and of national banks.
TEST(PiiIban, Mod97) {
  for (const char* iban :
       {"GB82WEST12345698765432", "DE89370400440532013000", "FR1420041010050500013M02606", "NO9386011117947",
        "BE68539007547034", "CH9300762011623852957", "MT84MALT011000012345MTLCAST001S"})
    EXPECT_TRUE(pii::mod97(iban)) << iban;
  for (const char* iban : {"GB83WEST12345698765432", "GB82TEST12345698765432", "DE89370400440532013001", "", "GB82",
                           "gb82west12345698765432"})
    EXPECT_FALSE(pii::mod97(iban)) << iban;
  // A single digit that is wrong is always seen.
  const std::string valid = "DE89370400440532013000";
  for (size_t i = 2; i < valid.size(); ++i)
    for (char c = '0'; c <= '9'; ++c) {
      std::string changed = valid;
      changed[i] = c;
      EXPECT_EQ(pii::mod97(changed), c == valid[i]);
    }
}

TEST(PiiIban, NumbersAreFound) {
  expect_found(PiiKind::iban, {
                                  {"GB82 WEST 1234 5698 7654 32", "GB82 WEST 1234 5698 7654 32"},
                                  {"GB82WEST12345698765432", "GB82WEST12345698765432"},
                                  {"IBAN: DE89 3704 0044 0532 0130 00.", "DE89 3704 0044 0532 0130 00"},
                                  {"IBAN:DE89370400440532013000", "DE89370400440532013000"},
                                  {"FR14 2004 1010 0505 0001 3M02 606", "FR14 2004 1010 0505 0001 3M02 606"},
                                  {"(NO9386011117947)", "NO9386011117947"},
                                  {"BE68 5390 0754 7034 pay", "BE68 5390 0754 7034"},
                                  {"CH93 0076 2011 6238 5295 7", "CH93 0076 2011 6238 5295 7"},
                                  {"MT84MALT011000012345MTLCAST001S", "MT84MALT011000012345MTLCAST001S"},
                                  {"AT611904300234573201", "AT611904300234573201"},
                                  {"ES9121000418450200051332", "ES9121000418450200051332"},
                                  {"IT60X0542811101000000123456", "IT60X0542811101000000123456"},
                                  {"NL91ABNA0417164300,", "NL91ABNA0417164300"},
                                  {"PL61109010140000071219812874", "PL61109010140000071219812874"},
                                  {"SA0380000000608010167519", "SA0380000000608010167519"},
                                  {"\u8D26\u53F7DE89370400440532013000\u3002", "DE89370400440532013000"},
                              });
}

TEST(PiiIban, OthersAreNot) {
  expect_none(PiiKind::iban, {"GB82 WEST 1234 5698 7654 33",
                              "GB82WEST1234569876543",
                              "GB82WEST123456987654321",
                              "XX82WEST12345698765432",
                              "US82WEST12345698765432",
                              "gb82west12345698765432",
                              "AGB82WEST12345698765432",
                              "GB82-WEST-1234-5698-7654-32",
                              "GB82 WEST1234 5698 7654 32",
                              "GB82  WEST 1234 5698 7654 32",
                              "GB82",
                              "GB82 WEST",
                              "DE89 3704 0044 0532 0130 0",
                              "DE8937040044053201300",
                              "BA54 73A2 B058 7B07 FB27 CF2D 2160 94DF",
                              "CP1250",
                              "1GB82WEST12345698765432",
                              "_GB82WEST12345698765432",
                              "GB82WEST12345698765432_",
                              "GB82 WEST 1234 5698 7654 32X"});
}

}  // namespace
}  // namespace ds
