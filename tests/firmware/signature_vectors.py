"""Signatures for the tests, as base64, made once with the package cryptography and keys that were then thrown away.

What is forged opens to a block of the right length, made with the private key, that is no PKCS#1 v1.5 block of MESSAGE.
"""

MESSAGE = b"what the board is to run"

# (modulus, signature of MESSAGE), for 2,048, 3,072 and 4,096 bits.
VECTORS = (
    (
        (
            "2Fgg3ZqsZsYhETnsllu2nr12MPzEyFl5bSO5mOhf1MtAddsWCJeDkwnFsyMk9nnADIsApiiehyL92Sw6LRLx+T15tINzw1wluMkI"
            "0ZxVIzLr9xbDGDCHfzhMUVT3xBgFBmFcrHGJ7HjG8BLNVxrm9Uc7DSQhCk8j0vLmFYlSlLIaxcCIYu2gVv0JdW4P+95kGjNk8MWO"
            "tc6cO35ILfhWtCbwpZeSZ/URJUT4RI5AsKDq25WIwftfUpZEqLiHADRQTisixlny0mUA62FFd8vf5WT223pPP/Tdp55aRLE/sxmS"
            "IRCF17pzuJycXQvR/6D/M3Zgz99LjOstBOBebhKurQ=="
        ),
        (
            "E/GfMwnnBgocnz0k9St5TQ2wK4J2U4H21JyRiLcfEu+59fnr14trAytU6Tm+VTJ7x3fQEVTEz6ufW8YBWc4bV5h+FNcegP5gI38J"
            "wdhpQPdHre5B1xXwF2DAeAyBjcws/biEnRpaoSCGxyWOEcYQ6W1Y1gmurTsdQ68DzgZIgUMxh+oYKL/6y0PCe4HMvJfHvjZkVcEG"
            "MwbRqASGWM5c9Dv+5fGDF0ILWR4lDTK35ZM1rqNbEUbzwC3F/VhWwjO64s/vRDCsxMlQdS/l2SOIP6OOg0GjxPr8xYsNASbiWbPn"
            "LmanPp0lyM56Vbe1WxyIW+/QyaSYZdhoLvl6LxD7Uw=="
        ),
    ),
    (
        (
            "2Fi+rVV/yLMTRGeWZsqQRUkuTJWRXop3fG5r2/Yoc4Q/wPhwGilNJAxzxLoCqJAdvcAbssDbWvi4L3X7eb+hJ6sBPNKAmGq6gf/x"
            "EV1P82zDNmJLN7ZGxds4Ef8MdYfsVQeKNdGpTQzpqa983y4TD9WGhMLVSPmAmhQzLe5g7cXq0vb63ob+xVP0M7SBtMcjksibBlqC"
            "4QWekfu3N7o5GpY0CpLPLL4ysv7WYQyaT4ICgV+e1jkNzbBgKCgiWt/CFb6Aq9uM91bWEFyOpXx6qQ+iqkvBgrIfSW7h+eO8eK1h"
            "UukxBBKuF7nr9pbLWyBhce8dZXnHSG8boWSnOHK5fnp0Tcvl/dWkO1X3c1MUyPhz7upGmKMixYTWJKbAYX4kNqskVBkbSp6R0DrY"
            "hKkXv4DewgfQ8ZYw1BqtfUkVBSAQw8qUaseI1LByasmVrB6A/YwfI8CCJOQ2Jyy3Rym9AVFLQ5SEnZKMesxAqcdkC1Rb53dLXYVW"
            "MuLNjKnj63ON"
        ),
        (
            "JTlhMmWKJX/o0ojWG/Ps8tI0APwVlGWr+P6sGiZzlQYcVwgyXKLcTQFvTkD0N3xa6KTKgAvl6SORl+DpB3TfSxTEXNrJlbqi5/ss"
            "stXUyW+/nxhkbOboLNzg9TkgNBbbnjw5UdbInpW6MlJqdJ7hg5/X4NLKOjXF0df14WumEwt1+gz/qOERsFm/UUsQhTpVqpJEYKO7"
            "AWh4J9U7hBO/1e258bcWj20JFrilxuoepqC3xSIR5474qvXXgcYUan6usWatruJrftEOeZJ81wIMwZ+IowdoV35/4VjRCKLoPxeW"
            "iv3W+NwyKZ76quV5FjX9T+fksI+OJA2JA2eAXRYNsQg8wsBl6VOaoMTrkdeTJDgN0r1dIuJifCQjwr3/ethNgxG1+dho15Kt7Ynq"
            "teqfDgPRQJ/QnMt6JQ9OQitbN5nMQRGykwycVLjE3KpgDo0LmRhFKZ3cZyUs8jrEJyTNMJBzR+nWqF08JKVcKm9thnyqPPUEzAbf"
            "lFnBMKVRQ4pb"
        ),
    ),
    (
        (
            "16dF/jfnG3bMKT9sMcyeliKeCxiIHBmSIFz/BJVL38VPA3i2Vk8hm1QfMNdYI9WWpnTe0nqAf8K4Cdfcr902AxHJD93a5VZ6C3Oq"
            "9wyinJ4TlVZAslP6f3YSYpAN9WoWQshLIbg/lDsbV/xggHQbZ3tWvsJdGqyNNce9SdNwmCrWWOehIHVHIBlRfFDEX+cBAMGsb1rm"
            "KwcIsmMHZb8DW708VwAqezoe7qsOh9WRZhHxVFkWDg3gn0i49Ecf+bD6Wb8D4CCz1IPEPt5AF0PUR5rhwg25GLeds8KmPi4V49S+"
            "ow+oyFZJKQ+SEcKoUnRBW+sXN3ZKPmqYZZLNkGin/eCUbcU9z/VNi+82BhCMJP9vS5hWp2wFjGA6NInjIScKjZxTW8eT5gc9+/24"
            "tjt3vyCioN2AGDOZV7kAol6F1XCN106v4vPxKCaL7QYF9pzkvPtmDM30FVHnLWYVgVGj2o8y4GFVg7ZJ4RtQuPcRmkShD0EkmTyO"
            "n0MJ+R85gP7Qudb5+PxwxQTEPlValxPhwx9Ovf6Vhnmev5SErAXIARUVFT1V3KcOtZ7nzkk6mhvMhaPy58aG4ybQ/UAQH0vsSJYB"
            "NhD5/NO65sRVk8bVxYSKmOS3a8g6RIFYz4yhRQQ6J6l38/IxmhNa40bGatj1aNbpW2fECuhR4WRuh7VsPR0="
        ),
        (
            "qLXKFSF4AWqDfnOuykZiYiC0WDPvR89TgBeKvIgp0t3UNHKw163e9RF6fdf/rTrlr4bAdZmJBXv+Jcy7RT8SZI1e1wTHZ7v9INGd"
            "rur/Buo7Dlh3v7v9IKuI8tcjSQJUk3pAPq/5sByuYVTzuXkUWk7YE6p5vljKN6MnqjKs3WgnSbUlgxiq+uhJ9Qh9xPSmzS33F2du"
            "D0njKLEvpZUugownZe5Rh+dBytJ941QMDJ6G29wyHDgGLN8U8zByDmj4LFUwgkY3+Jq80Zfa5FtQ2dccV4PGic9fD+8q4mJcVf2z"
            "4D9vSxO8NDCap2LJeOOs09C+LyexRLOb/z3yrWcQ7+PQcbQX+M04MaNDBClI9GKz3xrp8G8RYImCkvjsvlff6DcKw+Nf0761j19i"
            "wCvDHymLElHmfgx0efuvLZeJHYRGSG/ZpYN5N5WW+jBQd5F9s1rshBVmW0tI++1lMRC4PE8sv17zaFvXBKvxFmzlsL27dQjFi+d0"
            "oKxadIzZVcrByc7p0s8VtYN9i5S3AzI66PqedxaTOOZteS524UOtlCnQMKvzp8kBvczi8ZcwfcVZ4HntE3a2CBjPQo/FINJbYjJo"
            "0JSry7yTvMor6c8x3Kz8yhnzJ9vRyNEUSR/nQNC3ML7iUWTXY9939i9LgSa/xAQwp5qLQGfHXVsGDmb8eto="
        ),
    ),
)

# What is wrong with it, and the signature, by the key with 3,072 bits.
FORGED = (
    (
        "eight bytes of padding, then rubbish behind the digest",
        (
            "J5NhH+GF31vvCl43v2Ovgazz1usucJIRH6ff2AYMYx7wA1NL472QiXL4SAnVzp6reUqNrzTS/EmWsxONQC/bphZ1EcKw6c0q6lZ+"
            "gtsvXcz7PpbtRmY8YxVrINrbs7uhP2Us6GX8ZZDOttvKh/I0am/p76jLvjoLB05zhrPv2yCaZkKSW1rZ1z9B3JT60qgsma972ZmQ"
            "F/MIYJXV8He6WxjBGmXHN/yzg6IieuFuMOjhfQGeE/UgmOdgCAXHduSnSzAi4fDJwm/qU+gOp+7F8Q//zcDbqF71Y91s3l/mt/MB"
            "nUJ8eLwzAODL15Ek0qpWbpK9IWlay8YVCnDb04OfFdQGRuhNXZCGDkYMUMAn6U40HHFlR190L9lf8+/D6CqJbiC0BLOTXVxZRsPx"
            "c5uYyHOf3aax3cG88zeaV37gWwXfuI5uL4ZCIDx8tlXDZy9IV90UEX75PgxA192mnAYbDa4+ZMGChwmbP14iS3V1MnVD8+4GuCCL"
            "JFMRougB5VQF"
        ),
    ),
    (
        "a rubbish byte behind the digest",
        (
            "hJXNz7lCr/i7hqQX2Vdeobcm5FaD/deDF7AQT3RRP+DGsqQyalWtHWAQpABJx/CH23yg84/U7Ie7jDoIYSHt+qvdyLTTd9KaJfS1"
            "vhKrrXqkGESUw56/gPsTXm1TcT635fekH+f5PXnpXzRKrXsHlxD1Gzuoo/4i729HfsuhKAz53CFAuBY7nKdl+vCNDl69AVXKXljM"
            "cC4pqLopWyCp7jjL1ZmAL374wqicv6Hgnfq2VwTN+tkBlFjF97QIBtKEfY/oWJ9ZwcCyESzDuXgEtCXf7cmM+qE1gjl2wex0c33y"
            "8xV0FEWV09VB7lMVBVb5b59TqbPWELuuBSjFlUFU7j17QlS4sFjK40jgHJqcZJFfDI6yYRAdXDPHHOuJfvC4isSY52Wqj6tgGyD2"
            "fJ0wgJONh8AW7AtfYqY6ppQeQd6ic3D9/aMVn03zHJxrB0Uk1k2OLRx9qNFwXH2dZKuS+PmQikgRLNsAWwz2/yMe1Y4FXj1kffHa"
            "QcQC39E2bTjf"
        ),
    ),
    (
        "block type 2",
        (
            "H5E/N3P7hhUpZU3U4CFvBZz4zapUJeDayB7PNCqYnvqUJ3NcG8AS5ho+U+9auR4KayPlBhHqYMb1CacRuMHD6Squ3ZTkDoa3p7wu"
            "nYSMMIBL+iOTd+6Ae+s5EcQKg991KQM7Z7ydTD9TVWq5AIRbIQjea+bZHc1gYyZJ2+jV44n3jPjrM8SMerqb2SeVOPPqLDtkhBUo"
            "L6QEAva+9GP20J8zijGwP+TcLHZixrL4V73b/Zn2lMX/sn8j8FdEAf779r/Q68MdjLbKl5fdQ/5AkWQ+3C1eCEVR6cLHdAFH4eok"
            "lzTWsEWZ6Qf26P6xvqVPvJYNtyim0YnWVmB8m0EtV4pnW9xWpAmHh81kR/0NQiOtUtpqkx8SZwfLwJ24fBjqR1BGVn71AKAIC8NH"
            "ll+dxC5x6XKhG41qJOWGRTwu0ylhqDgRg9VDUmIETcRx1AV/+Z1MTSAaRaQ6qKzOhKDqmxaN3lr0HuOyGQaOdFUiHkNWGEfBw5w8"
            "k3rl4gNlEWk1"
        ),
    ),
    (
        "block type 0",
        (
            "VfqCu7G806hAiyCiu9gq5FzS1kvOHuVwCFe24AXZY4XmU7A7j3b7G06x9LpLKYkqygfFDt3gp58GDAX9OHPkbpAJa/92bLC44hVa"
            "+cYFU07nONinTnL169X2xbJwsLCZoHFztwweIpC3aie6yed7uanjI36iRKzAFyM4NIW1A7u+670VtjuKFdIrN9PYfdYJASSyTTW1"
            "GuQOrRIL0r/yQ+7rcisfgNrsa82kQXhlyFXyGB6NmrDbhSIuEqDgubQ00dg01L+n19WFM4yrb6Knqy9BiwS8F9UUjte6WgYYsAD0"
            "HG8zRv5SInUwe2x90KS61fiF6RYl7tLfc8yPtCYc3rIJgOhBnakeXUQ7sbujEzeZKULFQL5qOGeBnrCQBJYy0UovVZd07nV7ANp/"
            "XniB2kzDSAA8a60WqO07ATS+x9Jw5/WuKXnpiay6Es8xAQU2ME0Bzam9Fmso3zeQZJhT5LTQTQlBiICSzhlNNkYirdDe5oMvtoHk"
            "L9BJSFV/Kxug"
        ),
    ),
    (
        "a first byte that is not 0",
        (
            "Wwc1x51cprqQHfM+Cl2ht8c7AArv/TUD2/VqZAZ4hMFpY0hRgfXi7W590Gka29T6xN8CvU8EMXsXTDeWSNPDXRAUJuX3MKWZ32Tc"
            "IzTyL7M+K2n2ybkXy0diatbWDd9uTS4mHj4Seb/Tq4yZNk3JsFp7U/3yUW0b52oqnE7XLBHO6Cc6pL4npaRtf58vUEabWDsHGHJt"
            "VMw66qdoLrFUqs9ybpOTxh+JMSt7Jwm2Dt1C2HNS0l9ssbVsBBxgCZDdgp+HugU8FwCr553o70yvrTj8ADt3JSFohHp34V8vbN43"
            "XjSRXubeiDn+cqWTxVo9vIwsFU3JjPhzreudUXMmlnjDMN7o0tAVDGGkqIK54sVIt2a+c0Toqd7xvVzweMB3+1b4+44rAZ3daBfU"
            "fspx973RQSmesY2SDAXfTJsib5z0XSezQshR5fuBxyqea6NKV+UFA8LsTRqFLA0io5oafgqEDEBVRCf4niR/wjSJKC9YPOjY/09H"
            "Aie7VET2MT7j"
        ),
    ),
    (
        "no 0 behind the padding",
        (
            "iKw2cAGn2ysidSA5d3+JJ1r3fpezjXHodN5kIAh1VO0WqzMqTih5hHsImxAAo2RZcmxvUjQ51/lviQpTGx4oZUar+wjXyS46MPAL"
            "hGjECHF/jwHj1jz+AFVbMEV9X2zfefQ9JWBtOiLY2l9dkmBjqNrMVelJoF0Vx9G+JWXBMEg/6ceVgQjn3C4NzZlLLaym8yp32zhw"
            "UxT6aGDhIdElah0o/4QK6nT8JSsDjSQa9Uq0jq98ujjcQdYWd5sB/ugDKKUEnnyxz6vWcnAI3Vgp1wHeRYPrkf9wkiL1u6kRBmqh"
            "IcIGKAB1xEryOqpLkjgLL4sNLMaZ3f5gS/RgxSvhlnB853u9je36iDdc8yfCT2D6BrfESZVcnAiATZp1jRVzxgu0/Xoe6Mtc8RCJ"
            "/rHHccSc+5D5iTgqC7cwHjeCD/x1iYTj/nqSQKlrac2XeEQD5Ee89qE7IQhDHyurEFKei1r+a9FFl8PxPFndLEMOjohSGni2c6og"
            "++2TaEDdSstM"
        ),
    ),
    (
        "padding with a hole",
        (
            "MolRRDG0Jo+k0ecdxP58dF+iYYtyJzpYVaNMsAMv25mLn8VsPI1pDsaUaUKmLwkgWCPmfvm0E09NmxYVRNu27UXIT9936monJUuW"
            "OUjEKM36El5uZodi4pkoK/TF+NmBQq0MENvuzJZonNvjUNv8qmoUkfGxm7V4mim94xQkywOzzzunDNmlAGOaQdvMvASJqA1Vu3Lh"
            "ItOxa6oh8BGUPKXJQdyXhzYbMAdAjlbLmtxqvGKVu9B2gxwchpunTcz84+HQioJHVzi0RR4EzLzgXN00QGbQ6omeByLnjH4gfTp8"
            "L8/PG/NfqW0gZ4c2e2cVAka1fHfZfi/nA6b40WGdYs3elremLGHbItbxUKNESnQomtM23j57Fy7TrMAFMThZ75YbIYH9x95QPept"
            "qqVJDzOvK/x7eWnqkTNKJ9WZCQ5ntqhyLvHEoAee42V1bTKn13I0E7oeEPAcc6gMlAk6QU2w707CAwm/eMd60O3oW1W1KJ4GKELY"
            "zHltHMnq8xuN"
        ),
    ),
    (
        "an algorithm without its NULL",
        (
            "mOtrPc1LZIe8S4SvB3eBmchUnDYDA5JvSTi4qn1z3HudKhBOm6279GDL5In3PoZdJEraT9LXYfw+MiZXau3XYAtmNjoNsjjFyUI3"
            "+JBtsZ6VuvknFtkoOWENnrkFGkhwBf/BYdzscQyk3EYWaAN4FKmxiVj/dlhUCnM/8OCQeQ3VZlvMUSLYMKDnOp1LBEQAcfSFyfcJ"
            "6W1soJfLJr+VMfxgX25d2yUoR1+9bI30p7qiyPJWEQeESR7C/vrou82Nbaeyb/dh+MUF7F31d00oSaUJRpBzy4MFSTZnV2AN/LW5"
            "3884O9jCZfMt1YX7FRoTiWHtFvVS2VhBjfvSylM5qatUla2bUj/AcCSB06D3mpvi4f/3iFBarUQ+DWFIVr+G83fNz8UU+LvEGX0K"
            "hRbCIOxtKJDL0KhvPcgzKjxFUt7+ZEusu05dHEYL7ssPHVp7W6Aup40kwWQEzfRGANUe7GZa/E559mkGTnz5zNXXF8zIkRPytTYW"
            "Zv3vQwmX8cq4"
        ),
    ),
    (
        "SHA-1",
        (
            "tfytOfOQClHgPew0WQVkByrFDHHNNSJ6kO1Dlg3TOEcsYq4PADiCJ8mjBQu0HjiBu96h4rBzJVpVst2xaSDC8fbMVSkgtapz0Txd"
            "kh3qB2hX81+bUzTOvHtoujYRTatGCRaYYpKXAKWE3a5KyAs8qmW4JB7wVKgNN6IEDOB9TlCzmZLKwmNDut+j8p2Y0AH97dtyEZ26"
            "pTVAts3xJlM6LGmoxw7509AMXJU1awoGBmwbryGOuckKqVzjogLGzV5MZOnkIfVDcqGYQmo5DcZ3tW1xBnK3fcFD0BJzj4U34Juu"
            "gemIkIayFZrxJadT3QDsgK6bBfKy4MPj4LQ5Ga8yTsctZHX4L2vWMvCOw+DRIev7Ulma8TPBa79173qZa+6Ekh6GxtN3RtXXNjnL"
            "Hmy1wkcTsG2xbNtOrIE86n8Yk3XcmEK/n1Agd4VtZ3pOKNqueTEes3ndaLxuLa4WR+IwKqMT9duh6fs1QQc4jXzIju6Wjyg4KWAY"
            "5fs58GTTF0ge"
        ),
    ),
    (
        "the digest alone",
        (
            "q+EMbRPFA08Y242ml3LCihg/i6TsT/0AdZku1BY6UFkQ8rBHuaZUwEm3kkFdPlu0F61fdnmYSLvDi9CEHq42CfbAB3FNNQyXx1OV"
            "R3iz8v7BUc70mDn8QUsUDCORFVS0QUa23e2RhdG6pPJgQNDLZxtw7kDViR5H58PbK+kAKTlazArHZ5oTWxvKtQLcAs96+NYKA8qi"
            "yEai3G/NyaDtKK3yLNz+3wtNWZfZDMbpI1DccK1twubleoDPLLRghfh01xI6k4UY81yXyY/8eGXx42Xfh2XMt8x7vxV89qIFNqqr"
            "4JNYtGglLvMs9nElyYezbxnm1UbuGr8kQsQGJal1e4XgnBbsclsNW7fd7asFL9zxvyihuJGBjXiezxnUiYkxrVgJ/fWV7k7pbQSM"
            "M9zvwDXfTdsMK+lCZkLd0jFQw/NnJuRDMC9AP98EeQCsxaJ2QYcUtGQvMlY17+chtYBxVJeld8YQmpbEpD5R12TCVlWS6x9HTHxr"
            "HEwX0yaq7+m0"
        ),
    ),
    (
        "another digest",
        (
            "Azwo5THkF/Uu0no2s0Ql3V8EOqVXCTFfpEI5oszt59pbjHCTUI1WpsK5RLiZaWCWv9Ak4E8vUgreWYvzrd6jE3XxgP4vIi9OKj3O"
            "vZVJGsTG7dDMzyq6N4Uaz5TCimPkUSVeLDqlf+yDK19SXzuuu/JqJYBX7vM//M+BasMK2lDAfnPb+q+sY6GsiFJl7XaFOPp/21HY"
            "B+S55qTWFuMSxkyChQP8+acvYF+/JnlWDz2Hj6XdomjzPz6Q9Qn0QTPFXBGGkG8AyTrPeJS3lzA7jYlCrlvik8PqghfTs+cj6yeW"
            "dXCS6ply/J2xF3AXOh21zpM1AljA9Np2d91bQu7l471a1HAg4ZwVgBgRQG0i8pa8lpRqjLo0KTneDIcHHGOMZsIqCd/3+c/52XlV"
            "RKaT1J9kQ68KhzeTXQUfP8o+EPH5MYJQ9FPiwFxrcd9Rhbj9c6Wh5clYRVEqGKewHD21JnIJrmIKS9soEkofP8zpq8IhlWyDePuE"
            "aVF/d73p95F4"
        ),
    ),
    (
        "PSS",
        (
            "teXvvVZIazmOD/mRDTvoRICyJZzrSygukGQrAUxlc4fjDRqpTiKnZvScW9lnuB0Nlz2gp0mBBHaZyygWGtw59tD3ZRDoyfGzfBJr"
            "jgPNfwzFnCaKwcxe6vwOtl7EZedlelUhr7d2C8j9pagqmjThJHhqrIDah18J9zCR+wHRmu19gZpTS6wws9PWHCCkTfCZ7mAH5OZh"
            "IWIzg2G4Vh+oy4I1kixxuW0MnKMK5LGmiZuYEEC9vmzQCFOTMOlSKV7nR8/g8En5a0lBXAA1fDOPdEswlkVA1ZtT18P9n4gUB8cI"
            "N4yAorUdLOHSbpZ0t3yI0jsImUBgpsi+Ukdd0EYwlqkau+t3FEkeYUqezedOqCOcsFV8Cac4lVNJE1nwVODD63H5Y9p/ibhq8cGD"
            "Dx6M17sMckPeecfB52dBL9DThk6TdVyMARO95vSNnluQpzyUPuE8I7KuoKRUudBDMSpeJWgOEeOVdM37VU7B0tNdgQltQKUBmSoH"
            "J5D/yUnqJAtu"
        ),
    ),
)

# A header, and the line that the key with 3,072 bits signs it with.
HEADER = (
    b"otalink 1 803\n"
    b"name thermostat\n"
    b"version 1.0.0.3\n"
    b"board esp32 unix\n"
    b"mpy 6.3\n"
    b"file 49bc20df15e412a64472421e13fe86ff1c5165e18b2afccf160d4dc19fe68a14 30000 17344 deflate lib/data.bin\n"
    b"file 9678681f9678681f9678681f9678681f9678681f9678681f9678681f9678681f 15 15 raw thermostat.py\n"
)
SIGN = (
    b"sign 3fdf6f32a547df22 "
    b"oXFnDOP3pwkv2T/EsA8b3qRNfbDJFyI7mpiaqSH5x+AHOxBkB45DrTjYcmddm/4LHClEpUyddmBAy9s5RNwTVmR/TMi4k6zl7buh"
    b"gx6HH/CEID5vMptH+goZJ1KF36zA5XMBTOJEMCSIXpC1rTfUxAQxewi16et7GHJjHuiTfeBsIn1QvGihDiT2SSxDAi2mJYdw4Wxq"
    b"i3UkLLkkxn1pE14TBXIAiySjB+j9oaLwpHhFjwVf/NtVUjNKaNyGlfH7TZp6JL/36tExigMDr5uXOFIN8BgcLVqLT/wugSui1NLx"
    b"ClKi6YubX+uztpdFq0RNFRZ/JMZweWmjAvwLN7b34V3MQsIjRndmqTU1LGmrWMxAi1h4IjVrxOnIe10/lXNYlSBjVR1fDJxVP8v9"
    b"RA0PYsHniBzxGCMHQrZsBCfl7sWtKYQs3ZbJ16SDzAx7dhtDuRJTMw7KQYW41O1oSmhqaO4iWKOMX3JF3tRzjfJx06elG5ReudiD"
    b"0y+C5mdhXjs3"
    b"\n"
)
