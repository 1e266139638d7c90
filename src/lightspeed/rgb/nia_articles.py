"""Schema, types and script of NIA, as every consignment of an NIA contract carries them.

Strict encoding, opaque to this package, which follows the same rules in its own words. Taken from
the schema's published kit (rgb-schemas, schemata/NonInflatableAsset.rgb, Apache-2.0).
"""

import base64
import zlib

__all__ = ["NIA_ARTICLES", "NIA_SCHEMA", "NIA_SCHEMA_ID", "NIA_SCRIPT"]

_SCHEMA_SIZE = 304
_SCRIPT_SIZE = 62

_COMPRESSED = (
    b"c-qxhX;c(f7Oq!a)f+0P5FA_q#fT&<q5>jFvm+u6D4S3g-363%cQsYjKx+h4;sUbjxJCw*%qWP85LX5_2r3xG6;V;#"
    b"a7mObE|El1jgUDre`<2#nRBLp)cel6w_e?T@4NSY4}yk;P?|tZq6%m61Qp@MFa!$;E{d-IQh$F;_pUf><Bax^Mr%tm"
    b"dzu>~C#1XB?YaEVTFYDjAP8Z!grZdxo7WWK;)Di`wyIxmmC_ZSH{8u;^{AtM!{LmKy9-pWIZu=&Xf@L=TD>-kP`G_R"
    b"<FAL#Tjb~d(0=lksnJGSe&b5}k4^GX1v#ASAd+Epgfd*G)vENM%ovEJxFM#w=^BDInP><NKmcm(d$#vI4PH=hFR1L^"
    b"d@1j{&^z(MNHeD_x2;ZpOaE;Dk$1hXoKLPRb3bS!fdIF_@9zKQTM#5>X<Wl35;XUUH3UgtVb>-s>-fC6HN^Vf%`GLz"
    b"UgYW7-p;QE1+zB`S9Zz8SiH@{M$~<zua7+T>oQ_ynXRa}$8o4Swfyakk2=HWLH$2b|2U#~JvD6Ig%LxxW!(BYwsEV!"
    b"eeb)fo|pO6n_5<U{AxBp!TiA+UYF~~A2@vn8KP9U7GA@y787=pyk*C~{Mpq^9x<x&_~|yA6USShq)S(qzHP}%`lt#7"
    b"d3<YfFxt$)sz?US8ns_nV0sE#YYeS@bm_{N(!WgaJa4?&v~f%3q|R@alpRAs%PG2~Q12qRF*dF$U*57Q#oNinxMck6"
    b"rjznHX$8lMY-20-gs$n8<eM1<*u873yJ%5-;(BeIlcnZrT4n09+akUo#zFRNKP)z%IIPHHk;jJaHw%#LT1yM_J*^JW"
    b"zsRqYAM3C~U<lDr8lug!{;vJthqbCV#+_qc|Jsc=<!_90ta|c%N8PN=Q%Y3;VJJ1RUwgUm)ull(58Fg$=NuzO$Alg0"
    b"Xuce_&E?VUgY-DbM)%eo+ghr&7B8`Jz}D<4@39==U>m|T?vZ8;epCs?GlEYLB156FM3QkP*;=TiR4SYvFTmAW8$_$p"
    b"F_RG`XZS>*q}Wf9#RN?`2)NiB1#CLygtEyrK}<msDIM*MB$8>wQ~^U~OhXwWjnGU-2{I{}bwM<whHym{I8CteLKS6L"
    b"4+A(35)yzy0hCHW5FjxTBqf35WI&Q&(ISwN0#quXRs)R&P!!N=L24?XX}~amWr0oy($YYBI>^WXdOcXY*mE*{s9~Rl"
    b"V$i|Mz2dxmQ%%-A_lqrE>Tiof%O3<@e}Do-g|+G9YX36_a_-b@DK%;RqT=e?r#S`gM{>3mCtY(6@~+5geDzW}_u-Dc"
    b"@fN#_Wapo)S}(gFOnbguo>e`iBUcC`tX@l05AJxEJ+7*)?3{R#WoTu!JI9I+dGg7#spyW(q{M|nC7DDpEFVjJ4`okS"
    b"2^wt<%!m!Z{iH>qot{&B>Q|t<prMfufXnJXMuBs^g?npqp|X%^mf?j3`1P32%ZX;`kbu+C9+?#?tSO-0+T8YWj_;PP"
    b"70zWsPs!UMj!T~AS-W>F-?>`Xwc)S;Lm4fuAjZ9Cf-qG_u>@oF?~D*>30gsD*a;Gj8U)SY8l{aC*HR2iQ`%%=qBw!Z"
    b"6)6N8{P6$^n<T~=uH=zSitT$Up$bZ^#_dowsnId-DTOjB?ko0xj#-q7(zr<&LQQ%b;0#1XFpN7&r0Q_hOi>a|;9M9U"
    b";#3`XG$f_*gmHEjjCpy%m`ny^-rg|g;{#*9zA)zJ2V?&JFcuI1V}XG%78C?yvuDFta4?L`nFC`XAuu*~E{uhS!kAnR"
    b"V_{)179I{`5fLypZyt=zpATb^kuVk&1!K|CFcuRdWm0ARI}<BO;6S+H4=?!FbXeSfq=wkw#gdAYg&#IaB#MDRmLOVE"
    b"OMLeGMA%Z4B~?lyldr;xdv-_B7Bi<r2y2p0Q!&f+l7%hzT;J90>s)hmlk3&?jDe!w+xvcuO}8tk#;*HAO(kBhj0@YR"
    b"cTKDL)z5an`8RWXL*6c{KtX)`nUcB8dAh-B!G=nIePYy$k@Ockh4&WLl~10qX0$P1Uo|8qk-_qI4>h4A@w=;bId7P<"
    b"YV*E^+>)WmZnCA5FME9Yk7tK>9nO9lRQqh%g6)A(aSxrJ7uVb`b2#+k%K1ZE>UW#jn~a?vUE5?iWGp0(6Ev9T?=Hyn"
    b"bo<f!{^q6ZxY0v@n&@<)e#idV1)kqyR)XP1q((`mkqpV{2nbOU3KF1(#35mh_bL@BkQnCX7$73;GxTAUvnpsx*l*>a"
    b"Xu!&0F`~gWltgSWhHywK>9ZN25qFphYEYjkltY8xn+$LWnn<Ww%D8V$KLa#*zh)mEir_3u4dXii6kcwf{gbZyyV|dA"
    b"$@Rq@Oi|U2n>9MSU}3Vn0w~}Or}(4*pAryw{F(IsUnTN~O-8<c#G7egAk+HC?D)pI@L^}XihSa>FWP=0S8^YE?BsS~"
    b"?;>lNbW#;G69o-!OG}T`z<TCvVcfOOJ;=-E%d%M~>g%M&hsCDQ`YU|LEO7q++-g3#jRL;3=hIjy;1ia-x<Sw<FZh-b"
    b"F}ehUAD@I2DUxxTyDsqg9WQKt(&!rL`1jiLcn@@^>&t7CriHsU#yq{dYUdGYg`b#DJr2}+&;F5*V<^lgMqXB#Tl%zI"
    b"x}ETC*WB(NQ|0J&i?UCao%J}rkxtE7^I09A*g*lG803@qDEzaz7`eR{(Z9L6kFA_>34Zj{i@ve@$aImJ#m%gSLEHJZ"
    b"jqlbdM1+R^PSAYqk*oS@f-kd0N`l2n6~iYgC0d$m0}LmC_?j4>?1Z3OW9-A`XVKVohpL>FS%b^Z9^KNtY|79(4_<h<"
    b"2jLR}P{1ds`C9QGlfZoO@UcqFN6P`CPwXH0C?c@<utkiw9RNrm@Cu$MmWBER`um1Q2*UhjmXHw_>P7B~FEWAvWF&?l"
    b"BLG8Z+C{+C0cthOBM@ZhB)<WH%H9("
)

NIA_ARTICLES = zlib.decompress(base64.b85decode(_COMPRESSED))
"""Schema, types, script."""

NIA_SCHEMA = NIA_ARTICLES[:_SCHEMA_SIZE]
NIA_SCRIPT = NIA_ARTICLES[-_SCRIPT_SIZE:]

NIA_SCHEMA_ID = bytes.fromhex("45687051f4cca6e3f665fc75fe3e27b30080346789ad83aa0dc29e95a315e335")
