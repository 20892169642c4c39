package storage

// headerDictionary is what most headers hold, for compressing them: a header
// is too short to learn it from itself. It is part of the format: codecZstdDict1
// means these bytes, and a better one gets a number of its own.
var headerDictionary = []byte(`Return-Path: <bounces@mail.example.com>
Delivered-To: user@example.com
Received: from mail.example.com (mail.example.com [192.168.1.1])
	by mx.example.com (Postfix) with ESMTPS id 4ABCDEF0123
	(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)
	 key-exchange X25519 server-signature ECDSA (P-256) server-digest SHA256)
	(No client certificate requested)
	for <user@example.com>; Mon,  1 Jan 2024 00:00:00 +0000 (UTC)
Received: by mail-yw1-f172.google.com with SMTP id 00721157ae682 for <user@example.com>; Tue, 02 Feb 2021 12:34:56 -0800 (PST)
Received: from localhost (localhost [127.0.0.1]) by localhost with LMTP; Wed, 03 Mar 2022 01:02:03 +0100 (CET)
Authentication-Results: mx.example.com; dkim=pass (2048-bit key) header.d=example.com header.i=@example.com header.b="abcdefgh"; spf=pass smtp.mailfrom=bounces@example.com; dmarc=pass (policy=none) header.from=example.com
Received-SPF: pass (domain of example.com designates 192.0.2.1 as permitted sender) client-ip=192.0.2.1;
DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.com; s=selector1; h=from:to:cc:subject:date:message-id:mime-version:content-type:content-transfer-encoding:list-unsubscribe:reply-to; bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=
ARC-Seal: i=1; a=rsa-sha256; t=1600000000; cv=none; d=google.com; s=arc-20160816;
ARC-Message-Signature: i=1; a=rsa-sha256; c=relaxed/relaxed; d=google.com; s=arc-20160816;
X-Google-DKIM-Signature: v=1; X-Gm-Message-State: AOJu0Yz X-Google-Smtp-Source: AGHT+IE X-Received: by 2002:a05:6902: with SMTP id
X-Spam-Checker-Version: SpamAssassin 3.4.6 (2021-04-09) on mail.example.com
X-Spam-Level: 
X-Spam-Status: No, score=-1.9 required=5.0 tests=BAYES_00,DKIM_SIGNED,DKIM_VALID,DKIM_VALID_AU,HTML_MESSAGE,SPF_PASS autolearn=ham autolearn_force=no version=3.4.6
X-Mailer: Microsoft Outlook 16.0
X-MS-Exchange-Organization-SCL: -1 X-MS-Has-Attach: X-MS-TNEF-Correlator: Thread-Topic: Thread-Index: Accept-Language: en-US Content-Language: en-US
User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:102.0) Gecko/20100101 Thunderbird/102.15.1
X-Priority: 3 (Normal) Importance: Normal Precedence: bulk Auto-Submitted: auto-generated Feedback-ID: 
List-Id: <list.example.org> List-Post: <mailto:list@example.org> List-Help: <mailto:list-request@example.org?subject=help> List-Subscribe: <https://lists.example.org/mailman/listinfo/list>, <mailto:list-request@example.org?subject=subscribe> List-Archive: <https://lists.example.org/> Sender: list-bounces@example.org Errors-To: X-BeenThere: X-Mailman-Version: 2.1.29
List-Unsubscribe: <https://example.com/unsubscribe/>, <mailto:unsubscribe@example.com?subject=unsubscribe>
List-Unsubscribe-Post: List-Unsubscribe=One-Click
Reply-To: "Support" <support@example.com>
Cc: "Second Person" <second@example.org>
In-Reply-To: <CAabcdef0123456789@mail.gmail.com>
References: <CAabcdef0123456789@mail.gmail.com>
Subject: Re: =?UTF-8?Q?
Subject: Fwd: [list] =?iso-8859-1?Q? =?utf-8?B?
Date: Thu, 4 Apr 2024 10:20:30 +0200
Message-ID: <01234567-89ab-cdef-0123-456789abcdef@example.com>
From: "Some Person" <person@example.com>
To: "Other Person" <other@gmail.com>, user@yahoo.com, user@hotmail.com, user@outlook.com
MIME-Version: 1.0
Content-Type: multipart/alternative; boundary="----=_Part_0000_00000000.0123456789"
Content-Type: multipart/mixed; boundary="=-=-=000000000000"
Content-Type: text/html; charset="utf-8"
Content-Transfer-Encoding: quoted-printable
Content-Type: text/plain; charset=us-ascii; format=flowed
Content-Transfer-Encoding: 7bit
Content-Transfer-Encoding: base64
Content-Transfer-Encoding: 8bit
Content-Disposition: inline

`)
