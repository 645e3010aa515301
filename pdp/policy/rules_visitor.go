package policy

import "github.com/jobward/jobward/pdp/authz"

// visitorRules is the walk of a question about authz.Nobody: the rules that ask about a
// job, its project or its user have nothing to look at, and those that remain look at what
// is open to everybody. No other rule may be reused without a thought about whom it asks
// about: here the job, the source and the user are zero.
var visitorRules = ofVisitors()

func ofVisitors() [NumRules]rule {
	v := rules
	for i := range v {
		v[i].apply = (*Walk).withoutToken
	}
	const r1, r8, r10, r11, r13, r17, r18, r19 = 0, 7, 9, 10, 12, 16, 17, 18
	v[r1].apply = (*Walk).visitor
	v[r8].apply = (*Walk).permission
	v[r10].apply = (*Walk).visitorOwnJob
	v[r11].apply = func(k *Walk) authz.Reason { return missing(k.findTarget()) }
	v[r13].apply = func(k *Walk) authz.Reason { return missing(k.ownProject()) }
	v[r17].apply = (*Walk).visitorFeatures
	v[r18].apply = (*Walk).visitorSet
	v[r19].apply = func(k *Walk) authz.Reason { return missing(k.targetState()) }
	return v
}

// missing is what a refusal is called when it is a visitor's: that there was no token, and
// nothing of what exists or why it is closed.
func missing(r authz.Reason) authz.Reason {
	if r == authz.ReasonNone {
		return r
	}
	return authz.TokenMissing
}

// visitor is R1.
func (k *Walk) visitor() authz.Reason {
	k.tok = Token{}        // a World may give anything beside "not found"
	k.user.External = true // what is internal is not for visitors (§8.1)
	k.key(authz.TheInstance)
	if k.rec != nil {
		k.sawf("no token was shown: this is about an anonymous visitor")
	}
	return authz.ReasonNone
}

// withoutToken stands for every rule about a job, its project or its user.
func (k *Walk) withoutToken() authz.Reason {
	if k.rec != nil {
		k.sawf("without a token there is nothing to look at")
	}
	return authz.ReasonNone
}

// visitorOwnJob is R10.
func (k *Walk) visitorOwnJob() authz.Reason {
	if k.rec != nil {
		k.sawf("%s a job itself", either(k.perm.OwnJob, "a question about", "not about"))
	}
	if k.perm.OwnJob {
		return authz.TokenMissing
	}
	return authz.ReasonNone
}

// visitorFeatures is R17: members only means no visitors.
func (k *Walk) visitorFeatures() authz.Reason {
	r := authz.ReasonNone
	saw := "asks for no feature"
	for i, f := range k.perm.Features {
		l := k.tgt.Features[f]
		if l == authz.FeatureDisabled || l == authz.FeaturePrivate {
			r = authz.TokenMissing
		}
		if k.rec != nil {
			saw = either(i == 0, "", saw+", ") + f.String() + " is " + l.String()
		}
	}
	if k.rec != nil {
		k.sawf("%s", saw)
	}
	return r
}

// visitorSet is R18: the public set, on a public target or of packages open to anybody.
func (k *Walk) visitorSet() authz.Reason {
	public := k.perm.Public && (!k.perm.Builds || k.tgt.PublicBuilds)
	if k.rec != nil {
		k.sawf("%s of what is open to everybody; the target is %s", either(public, "part", "no part"),
			either(k.open, "public", either(k.packagesForAll(), "not public, and lets anybody read packages", "not public")))
	}
	if !public || !k.open && !k.packagesForAll() {
		return authz.TokenMissing
	}
	k.byOpen = true
	return authz.ReasonNone
}
