# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection: no promise is made to code outside it.
# Written by tests/integration/database/revisions.py: do not edit.

"""Which version wrote a database revision: of Airflow, or of a provider with a version table of its own."""

from __future__ import annotations

# version table -> version -> its revisions, oldest first
REVISIONS = {
    "alembic_version": {
        "1.5.0": "e3a246e0dc1 1507a7289a2f 13eb55f81627 338e90f54d61",
        "1.5.2": "52d714495f0",
        "1.6.0": "502898887f84 1b38cef5b76e 2e541a1dcfed 40e67319e3a9",
        "1.6.2": "561833c1c74b 4446e08588",
        "1.7.0": "bbc73705a13e bba5a7cfc896 1968acfc09e3",
        "1.7.1": (
            "2e82aab8ef20 211e584da130 64de9cddf6c9 f2ca10b85618 4addfa1236f1 8504051e801b 5e7d17757c7a 127d2bf2dfa7"
        ),
        "1.8.2": "cc1e65623dc7 bdaa763e6c56 947454bf1dff d2ae31099d61",
        "1.10.0": (
            "0e2a74e0fc9f 33ae817a1ff4 27c6a30d7c24 86770d1215c0 05f30312d566 f23433877c24 856955da8476 9635ae0956e7"
        ),
        "1.10.2": "dd25f486b8ea bf00311e1990 0a2a5b66e19d 03bc53e68815 41f5f12752f8",
        "1.10.3": "c8ffec048a3b dd4ecb8fbee3 939bb1e647c8 a56c9515abdc",
        "1.10.4": "6e96a59344a4 004c1210f153",
        "1.10.5": "74effc47d867",
        "1.10.7": "d38e04c12aa2 b3b105409875 08364691d074 fe461863935f",
        "1.10.8": "7939bcff74ba",
        "1.10.10": "a4c2fd67d16b 852ae6c715af 952da73b5eff",
        "1.10.11": "a66efa278eea",
        "1.10.12": "da3f683c3a5a",
        "1.10.13": "92c57b58940d 03afc6b6f902",
        "2.0.0": (
            "cf5dc11e79ad bbf4a7ad0465 b25a55525161 3c20cacc0044 8f966b9c467a 8d48763f6d53 "
            "e38be357a868 b247b1e3d1ed e1a11ece99cc bef4f3d11e8b 98271e7606e2 52d53670a240 "
            "364159666cbd 45ba3f1493b9 849da589634d 2c6edca13270 61ec73d9401f 64a7d6477aae "
            "e959f08ac86c"
        ),
        "2.0.1": "82b7c48c147f",
        "2.0.2": "449b4072c2da 8646922c8a04 2e42bb497a22",
        "2.1.0": "90d1635d7b86 e165e7455d70 a13f7613ad25",
        "2.1.3": "97cdd93827b8",
        "2.1.4": "092435bf5d12 ccde3e26fe78",
        "2.2.0": "83f031fd9f1c e9304a3141f0 30867afad44a 54bebd308c5f 142555e44c17 7b2661a43ba3",
        "2.2.3": "be2bfac3da23",
        "2.2.4": "c381b21cb7e4 587bdf053233",
        "2.3.0": (
            "5e3ec427fdd3 786e3737b18f f9da662e7089 e655c0453f75 a3bcd0914482 c306b5b5ae4a "
            "c97c2ab6aa23 4eaab2fe6582 48925b2719cb 909884dea523 75d5ed6c2b43 b1b348e02d07"
        ),
        "2.3.1": "1de7bc13c950",
        "2.3.2": "3c94c427fdf6",
        "2.3.3": "f5fcbda3e651",
        "2.4.0": "424117c37d18 44b7034f6bdc 0038cd0c28b4 f4ff391becb5 1486deb605b4 ecb43d2a1842",
        "2.4.2": "b0d31815b5a6",
        "2.4.3": "e07f49787c9d",
        "2.5.0": "ee8d93fcc81e 1986afd32c1b 290244fb8b83",
        "2.6.0": "6abdffdd4815 98ae134e6fff",
        "2.6.2": "c804e5c76e3e 4bc4d934e2bc",
        "2.7.0": "937cbd173ca1 788397e78828 405de8318b3a",
        "2.8.0": "375a816bbbf4 f7bf2a57d0a6 bd5dfbe21f88 10b52ebd31f7",
        "2.8.1": "88344c1d9134",
        "2.9.0": ("1fd565369930 d75389605139 ab34f260b71c 8e1c784a4fc7 b4078ac230a1 ee1467d4aa35 1949afb29106"),
        "2.9.2": "bff083ad727d 686269002441",
        "2.10.0": (
            "0fd0c178cbe8 677fdbb7fc54 c4602ba06b4b d482b7261ff9 05e19f3176be ec3471c1e067 "
            "41b3bc7c0272 8684e37832e6 22ed7efa9da2"
        ),
        "2.10.3": "5f2621c13b39",
        "3.0.0": (
            "044f740568ec d0f1c55954fa 0bfc26bc256e a2c32e6c7729 1cdc775ca98f 522625f6d606 "
            "16cbcb1c8c36 44eabb1904b4 0d9e73a75ee4 c3389cd7793f 5a5d66100783 fb2d4922cd79 "
            "3a8972ecb8f9 05234396c6fc d59cbbef95eb 486ac7936b78 5f57a45b8433 d8cd3297971e "
            "d03e4a635aa3 2b47dc6bc8df 9fc3fc5de720 eed27faa34e3 e229247a6cb1 038dc8bc6284 "
            "237cef8dfea1 5c9c0231baa2 38770795785f e39a26ac59f6 8ea135928435 33b04e4bfa19 "
            "6a9e7a527a88 e00344393f31 7645189f3479 cf87489a35df 16f7f5ee874e d469d27e2a64 "
            "be2cc2f742cf ec62e120484d 0e9519b56710 959e216a3abb 29ce7909c52b"
        ),
        "3.0.3": "fe199e1abd77",
        "3.1.0": (
            "dfee8bd5d574 0242ac120002 3ac9e5732b1f 583e80dfcef4 66a7743fe20e ffdb0566c7c0 "
            "40f7c30a228b 09fa89ba1710 f56f68b9e02f 3bda03debd04 808787349f22 a169942745c2 "
            "7582ea3f3dd5 a3c7f2b18d4e eaf332f43c7c cc92b33c6709"
        ),
        "3.1.8": "82dbd68e6171 509b94a1042d",
        "3.2.0": (
            "15d84ca19038 ab6dc0c82d0e 1b2c3d4e5f6g 5cc8117e9285 69ddce9a7247 b87d2135fa50 "
            "e812941398f4 665854ef0536 b12d4f98a91e edc4f85a4619 c47f2e1ab9d4 0b112f49112d "
            "e79fc784f145 55297ae24532 a5a3e5eb9b8d 53ff648b8a26 f8c9d7e6b5a4 e42d9fcd10d9 "
            "134de42d3cb0 6222ce48e289 888b59e02a5b 1d6611b6ab7c"
        ),
        "3.3.0": (
            "a4c2d171ae18 9fabad868fdb fde9ed84d07b b8f3e4a1d2c9 a7f3b2c1d4e5 a1b2c3d4e5f6 "
            "acc215baed80 8812eb67b63c a7e6d4c3b2f1 c9d4e5f6a7b8 c20871fbf23a dd5f3a8e2b91 "
            "9ff64e1c35d3 d2f4e1b3c5a7"
        ),
    },
    "alembic_version_fab": {
        "1.4.0": "6709f7a774b9",
        "3.5.0": "02ca36b0235b",
    },
    "alembic_version_edge3": {
        "3.0.0": "9d34dfc2de06",
        "3.2.0": "b3c4d5e6f7a8 8c275b6fbaa8",
        "3.4.0": "a09c3ee8e1d3",
        "3.5.0": "c6b3c3d093fd",
        "5.0.0": "f2a4b6c8d0e1",
        "5.1.0": "d5a2f8b41c07",
    },
}


def version_of(table, revision):
    """The version that brought `revision`, as text; None if this collection does not know it."""
    for version, revisions in REVISIONS.get(table, {}).items():
        if revision in revisions.split():
            return version
    return None
