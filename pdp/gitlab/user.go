package gitlab

import "github.com/jobward/jobward/pdp/authz"

// user has what the directory knows of GitLab's user.
type user struct {
	ID        authz.UserID `json:"id"`
	Username  string       `json:"username"`
	Name      string       `json:"name"`
	State     string       `json:"state"`
	AvatarURL unknown      `json:"avatar_url"`
	WebURL    *string      `json:"web_url"`
}

func (c *call) basicUser(id authz.UserID) (user, error) {
	u, err := c.engine.GetUser(c.r.Context(), id)
	return user{ID: id, Username: u.Name, Name: u.Name, State: u.State.String(), WebURL: c.link(u.Name)}, err
}

// currentUser is what a user sees of themselves.
type currentUser struct {
	user
	External bool `json:"external"`
	IsAdmin  bool `json:"is_admin"`
}

// getUser is GET /user: whom the key acts for. Clients ask it before anything else, to see whether the key is good.
func (c *call) getUser() error {
	u, err := c.engine.GetUser(c.r.Context(), c.by.User)
	if err != nil {
		return err
	}
	basic, err := c.basicUser(u.ID)
	if err != nil {
		return err
	}
	return c.answer(200, currentUser{basic, u.External, u.Admin})
}
